// Topic Filters (MQTT 5.0, 4.7), and what a person types to find topics.

/** What is wrong with a Topic Filter, in one line that says how it is meant; null where nothing is. */
export function filterMistake(filter: string): string | null {
  if (filter === "") return "A Topic Filter has at least one character.";
  if (filter.includes("\0")) return "A Topic Filter has no null character.";
  const parts = filter.split("/");
  for (const [index, level] of parts.entries()) {
    if (level.includes("#") && (level !== "#" || index !== parts.length - 1)) {
      return "# stands alone and last: sensors/#";
    }
    if (level.includes("+") && level !== "+") return "+ stands for a whole level: sensors/+/temperature";
  }
  if (parts[0] === "$share" && (parts.length < 3 || !parts[1])) return "A shared one is $share/name/filter";
  return null;
}

/** What is wrong with a Topic Name to publish to; null where nothing is. */
export function topicMistake(topic: string): string | null {
  if (topic === "") return "A Topic Name has at least one character.";
  if (/[+#]/.test(topic)) return "A Topic Name has no + and no #; those belong to filters.";
  if (topic.includes("\0")) return "A Topic Name has no null character.";
  return null;
}

/** Whether a Topic Name matches a Topic Filter; wildcards at the start do not match `$` topics [MQTT-4.7.2-1]. */
export function matches(filter: string, topic: string): boolean {
  if (topic.startsWith("$") && (filter.startsWith("+") || filter.startsWith("#"))) return false;
  const pattern = filter.split("/");
  const levels = topic.split("/");
  for (const [index, level] of pattern.entries()) {
    if (level === "#") return true;
    if (index >= levels.length) return false;
    if (level !== "+" && level !== levels[index]) return false;
  }
  return pattern.length === levels.length;
}

/** What finds topics by `text`: an MQTT pattern where it is one with wildcards, else part of the topic in any case. */
export function finder(text: string): ((topic: string) => boolean) | null {
  const wanted = text.trim();
  if (wanted === "") return null;
  if (isPattern(wanted)) return (topic) => matches(wanted, topic);
  const lower = wanted.toLowerCase();
  return (topic) => topic.toLowerCase().includes(lower);
}

/** Whether `text` is a Topic Filter with a wildcard. */
export function isPattern(text: string): boolean {
  return /[+#]/.test(text) && filterMistake(text) === null;
}
