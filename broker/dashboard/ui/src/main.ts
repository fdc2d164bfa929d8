import "uplot/dist/uPlot.min.css";
import "./app.css";
import { mount } from "svelte";
import App from "./App.svelte";
import { app, route } from "./state.svelte";
import { topics } from "./topics.svelte";

window.addEventListener("hashchange", route);
route();
mount(App, { target: document.getElementById("app")! });
void app.start().then(() => topics.resume());
