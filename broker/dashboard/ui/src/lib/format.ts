// Figures as text. Units are written out; nothing here knows where a figure comes from.

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NONE = "–";

/** A whole number, grouped by thousands. */
export function count(value: number | null | undefined): string {
  return value == null || !Number.isFinite(value) ? NONE : GROUPED.format(value);
}

/** So many of something: 1 topic, 2 topics. */
export function many(value: number, what: string): string {
  return `${count(value)} ${what}${value === 1 ? "" : "s"}`;
}

/** A number in at most four signs and a letter: 950, 12.3k, 4.56M. */
export function short(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size < 1000) return digits(value);
  for (const [limit, unit, letter] of [
    [1e6, 1e3, "k"],
    [1e9, 1e6, "M"],
    [Infinity, 1e9, "G"],
  ] as const) {
    if (size < limit * 0.9995) return digits(value / unit) + letter;
  }
  return NONE;
}

/** Bytes in units of 1024. */
export function bytes(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 1023.5 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? GROUPED.format(size) : digits(size)} ${units[unit]}`;
}

/** A number of something per second. */
export function rate(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  return value < 0.05 ? "0/s" : `${short(value)}/s`;
}

export function byteRate(value: number | null | undefined): string {
  return value == null || !Number.isFinite(value) ? NONE : `${bytes(value)}/s`;
}

/** Milliseconds, in the unit that reads best. */
export function milliseconds(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  if (value === 0) return "0 ms";
  if (value < 0.01) return `${digits(value * 1000)} µs`;
  if (value < 1) return `${GROUPED.format(value * 1000)} µs`;
  return value < 1000 ? `${digits(value)} ms` : `${digits(value / 1000)} s`;
}

/** A span of time in its two largest units. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return NONE;
  let rest = Math.max(0, Math.floor(seconds));
  const parts: string[] = [];
  for (const [size, unit] of [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
    [1, "s"],
  ] as const) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0) parts.push(`${whole} ${unit}`);
    if (parts.length === 2 || (parts.length === 1 && whole === 0)) break;
  }
  return parts.join(" ") || "0 s";
}

/** Time of day of `time`, milliseconds since the epoch, with milliseconds. */
export function clock(time: number): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Date and time of `seconds` since the epoch. */
export function moment(seconds: number | null | undefined): string {
  if (seconds == null) return NONE;
  const date = new Date(seconds * 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function percent(share: number | null | undefined): string {
  return share == null || !Number.isFinite(share) ? NONE : `${digits(share * 100)} %`;
}

function digits(value: number): string {
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 99.95) return String(Math.round(value));
  return value.toFixed(size >= 9.995 ? 1 : 2).replace(/\.?0+$/, "");
}
