// The words of a text, the most frequent first.
export const handler = async (event) => {
  const counts = new Map();
  for (const word of event.text.toLowerCase().match(/[a-z]+/g) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1);
  return { stage: process.env.STAGE, words: [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])) };
};
