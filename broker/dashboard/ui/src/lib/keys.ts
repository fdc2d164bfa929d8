// The page's keys. A letter in a field is a letter; with Ctrl, Alt or Meta it is the browser's.

export type Command = { do: "filter" | "pause" | "help" | "escape" } | { do: "go"; to: string };

const GO_SECONDS = 1.5; // for the second key after g

interface Pressed {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
}

export class Keys {
  #went = -Infinity;

  constructor(readonly places: Readonly<Record<string, string>>) {}

  /** What a key asks for; null where it is for somebody else. `now` is in seconds. */
  press(event: Pressed, typing: boolean, now: number): Command | null {
    if (event.ctrlKey || event.metaKey || event.altKey) return null;
    if (event.key === "Escape") return { do: "escape" };
    if (typing) return null;
    const going = now - this.#went < GO_SECONDS;
    this.#went = event.key === "g" && !going ? now : -Infinity;
    const place = this.places[event.key];
    if (going && place !== undefined) return { do: "go", to: place };
    if (event.key === "/") return { do: "filter" };
    if (event.key === "p") return { do: "pause" };
    if (event.key === "?") return { do: "help" };
    return null;
  }
}
