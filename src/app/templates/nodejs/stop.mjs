// Words that say nothing of a text.
export const stop = new Set("a an and are as at be but by for from has in is it not of on or that the this to was with".split(" "));
