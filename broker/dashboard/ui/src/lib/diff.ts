// What changed between two payloads, by lines.

export interface Line {
  kind: "same" | "gone" | "new";
  text: string;
}

const LARGEST = 250_000; // cells of the table; beyond it the changed middle is shown as gone and new

/** The lines of both, in order, with the longest common subsequence as `same`. */
export function diff(before: readonly string[], after: readonly string[]): Line[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  const most = Math.min(before.length, after.length) - head;
  while (tail < most && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail += 1;

  const middle = between(before.slice(head, before.length - tail), after.slice(head, after.length - tail));
  const same = (text: string): Line => ({ kind: "same", text });
  return [...before.slice(0, head).map(same), ...middle, ...before.slice(before.length - tail).map(same)];
}

function between(before: readonly string[], after: readonly string[]): Line[] {
  const rows = before.length;
  const columns = after.length;
  const lines: Line[] = [];
  if (rows * columns > LARGEST) {
    for (const text of before) lines.push({ kind: "gone", text });
    for (const text of after) lines.push({ kind: "new", text });
    return lines;
  }
  const width = columns + 1;
  const common = new Uint32Array((rows + 1) * width); // length of the longest common rest from (row, column) on
  for (let row = rows - 1; row >= 0; row -= 1) {
    for (let column = columns - 1; column >= 0; column -= 1) {
      common[row * width + column] =
        before[row] === after[column]
          ? common[(row + 1) * width + column + 1]! + 1
          : Math.max(common[(row + 1) * width + column]!, common[row * width + column + 1]!);
    }
  }
  let row = 0;
  let column = 0;
  while (row < rows || column < columns) {
    if (row < rows && column < columns && before[row] === after[column]) {
      lines.push({ kind: "same", text: before[row]! });
      row += 1;
      column += 1;
    } else if (
      column >= columns ||
      (row < rows && common[(row + 1) * width + column]! >= common[row * width + column + 1]!)
    ) {
      lines.push({ kind: "gone", text: before[row++]! });
    } else {
      lines.push({ kind: "new", text: after[column++]! });
    }
  }
  return lines;
}
