// node --test
import assert from "node:assert";
import test from "node:test";
import { handler } from "./index.mjs";

test("it counts", async () => {
  const seen = await handler({ text: "The cat saw a cat. Über cats!", top: 1 });
  assert.deepStrictEqual(seen, { words: 7, sentences: 2, top: { cat: 2 } });
});

test("it wants a text", () => assert.rejects(handler({}), TypeError));
