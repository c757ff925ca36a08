// {"text": "…"} -> what it is made of. An ES module, as Lambda's own examples are.
import { stop } from "./stop.mjs";

export const wordsOf = (text) => text.toLowerCase().match(/\p{L}+/gu) ?? [];

export const handler = async (event) => {
  if (typeof event.text !== "string") throw new TypeError("the event wants a text");
  const counts = new Map();
  for (const word of wordsOf(event.text)) if (!stop.has(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const top = [...counts].sort(([a, n], [b, m]) => m - n || a.localeCompare(b)).slice(0, event.top ?? 5);
  console.log("words", wordsOf(event.text).length);
  return { words: wordsOf(event.text).length, sentences: event.text.match(/[.!?]+(\s|$)/g)?.length ?? 0, top: Object.fromEntries(top) };
};
