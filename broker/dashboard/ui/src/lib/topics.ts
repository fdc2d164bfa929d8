// The tree of topics that were heard, with what each said last and some of what it said before.
//
// What is kept is bounded. Each topic keeps its newest messages in a ring; all rings together stay under a budget of
// bytes. Above it the oldest message that is not the last of its topic goes first; where only last ones are left, new
// payloads are cut. Topics beyond a limit are counted and not kept. Counters are never wrong for that.
//
// `Level` and `Message` are plain objects and not reactive: thousands of them change each second. Who draws looks at
// `changes` and `shape`, which grow with every message and with every new topic.

export interface Message {
  readonly topic: Level;
  readonly time: number; // milliseconds since the epoch
  readonly payload: Uint8Array;
  readonly size: number; // bytes that came, of which `payload` may be the first
  readonly qos: number;
  readonly retain: boolean;
  older: Message | null; // of the same topic
  newer: Message | null;
  before: Message | null; // in the list of what may go
  after: Message | null;
  preview: string | null; // kept by who draws
}

export class Level {
  readonly children = new Map<string, Level>();
  topics = 0; // here and below
  count = 0; // messages of this very topic
  below = 0; // messages here and below
  newest: Message | null = null;
  oldest: Message | null = null;
  kept = 0; // messages from `oldest` to `newest`
  deep = false; // keeps a longer ring
  expanded = false;
  #rate = 0;
  #rated = 0;

  constructor(
    readonly name: string,
    readonly path: string,
    readonly parent: Level | null,
    readonly depth: number,
    readonly id: number,
  ) {}

  get isTopic(): boolean {
    return this.newest !== null;
  }

  /** Messages per second here and below at `now`, over about the last five seconds. */
  rate(now: number): number {
    return this.#rate * Math.exp((this.#rated - now) / RATE_SPAN);
  }

  hear(now: number): void {
    this.below += 1;
    this.#rate = this.rate(now) + 1000 / RATE_SPAN;
    this.#rated = now;
  }

  /** Messages that are kept, newest first. */
  *history(): Generator<Message> {
    for (let message = this.newest; message !== null; message = message.older) yield message;
  }
}

const RATE_SPAN = 5000; // milliseconds after which a message counts 1/e in a rate
const OVERHEAD = 250; // bytes that a kept message weighs beside its payload: a measured guess

export const LIMITS = { bytes: 32 << 20, topics: 50_000, ring: 100, deepRing: 1000, payload: 256 << 10, cut: 1024 };

export class TopicTree {
  readonly root = new Level("", "", null, -1, 0);
  readonly #byPath = new Map<string, Level>();
  #nextId = 1;
  #first: Message | null = null; // of those that may go, oldest first
  #last: Message | null = null;
  bytes = 0;
  messages = 0;
  notKept = 0; // messages of topics beyond the limit
  changes = 0;
  shape = 0;

  constructor(readonly limits = LIMITS) {}

  get topics(): number {
    return this.root.topics;
  }

  find(path: string): Level | undefined {
    return this.#byPath.get(path);
  }

  /** Take a message in. `payload` is copied, as it may be part of a larger buffer. */
  hear(path: string, payload: Uint8Array, qos: number, retain: boolean, now: number): void {
    this.messages += 1;
    this.changes += 1;
    let level = this.#byPath.get(path);
    if (level === undefined || level.newest === null) {
      if (this.root.topics >= this.limits.topics) {
        this.notKept += 1;
        return;
      }
      level ??= this.#make(path);
      for (let each: Level | null = level; each !== null; each = each.parent) each.topics += 1;
      this.shape += 1;
    }
    level.count += 1;
    for (let each: Level | null = level; each !== null; each = each.parent) each.hear(now);
    this.#keep(level, payload, qos, retain, now);
  }

  clear(): void {
    this.root.children.clear();
    this.#byPath.clear();
    Object.assign(this.root, { topics: 0, count: 0, below: 0 });
    this.#first = this.#last = null;
    this.bytes = this.messages = this.notKept = 0;
    this.changes += 1;
    this.shape += 1;
  }

  #make(path: string): Level {
    let level = this.root;
    let made = "";
    for (const name of path.split("/")) {
      made = level === this.root ? name : `${made}/${name}`;
      let child = level.children.get(name);
      if (child === undefined) {
        child = new Level(name, made, level, level.depth + 1, this.#nextId++);
        level.children.set(name, child);
        this.#byPath.set(made, child);
      }
      level = child;
    }
    return level;
  }

  #keep(level: Level, payload: Uint8Array, qos: number, retain: boolean, now: number): void {
    const size = payload.length;
    let length = Math.min(size, this.limits.payload);
    this.#makeRoom(length);
    if (this.bytes + length + OVERHEAD > this.limits.bytes) length = Math.min(length, this.limits.cut);
    const message: Message = {
      topic: level,
      time: now,
      payload: Uint8Array.prototype.slice.call(payload, 0, length),
      size,
      qos,
      retain,
      older: level.newest,
      newer: null,
      before: null,
      after: null,
      preview: null,
    };
    this.bytes += length + OVERHEAD;
    level.kept += 1;
    const superseded = level.newest;
    level.newest = message;
    if (superseded === null) {
      level.oldest = message;
      return;
    }
    superseded.newer = message;
    superseded.before = this.#last;
    if (this.#last === null) this.#first = superseded;
    else this.#last.after = superseded;
    this.#last = superseded;
    const ring = level.deep ? this.limits.deepRing : this.limits.ring;
    while (level.kept > ring && level.oldest !== null) this.#letGo(level.oldest);
  }

  #makeRoom(length: number): void {
    while (this.#first !== null && this.bytes + length + OVERHEAD > this.limits.bytes) this.#letGo(this.#first);
  }

  /** Forget a message that is the oldest of its topic and not its newest. */
  #letGo(message: Message): void {
    const level = message.topic;
    level.oldest = message.newer;
    if (message.newer !== null) message.newer.older = null;
    level.kept -= 1;
    this.bytes -= message.payload.length + OVERHEAD;
    if (message.before === null) this.#first = message.after;
    else message.before.after = message.after;
    if (message.after === null) this.#last = message.before;
    else message.after.before = message.before;
  }
}
