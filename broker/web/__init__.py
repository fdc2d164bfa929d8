"""The HTTP side of every listener that speaks WebSocket: health, metrics, the API, the page."""
