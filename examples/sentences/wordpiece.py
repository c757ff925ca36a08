"""BERT's tokenizer (uncased): text -> token numbers, by the vocabulary that the model came with.

The plain case only: lower-case, accents dropped, punctuation apart, then the longest known piece first. Words of
Chinese are split by character, as the original does. Enough for the demo and the same result as the original there.
"""
import unicodedata


def is_punctuation(char):
    return (33 <= ord(char) <= 47 or 58 <= ord(char) <= 64 or 91 <= ord(char) <= 96 or 123 <= ord(char) <= 126
            or unicodedata.category(char).startswith("P"))


class WordPiece:
    def __init__(self, vocabulary):
        """vocabulary: the tokens in order, one per line of vocab.txt."""
        self.numbers = {token: number for number, token in enumerate(vocabulary)}
        self.unknown, self.begin, self.end = (self.numbers[token] for token in ("[UNK]", "[CLS]", "[SEP]"))

    def words(self, text):
        text = unicodedata.normalize("NFD", text.lower())
        spaced = []
        for char in text:
            if unicodedata.category(char) == "Mn":
                continue
            alone = is_punctuation(char) or 0x4E00 <= ord(char) <= 0x9FFF
            spaced.append(f" {char} " if alone else char)
        return "".join(spaced).split()

    def pieces(self, word):
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                number = self.numbers.get(("##" if start else "") + word[start:end])
                if number is not None:
                    break
            else:
                return [self.unknown]
            found.append(number)
            start = end
        return found

    def encode(self, text, tokens_max=256):
        numbers = [number for word in self.words(text) for number in self.pieces(word)]
        return [self.begin, *numbers[:tokens_max - 2], self.end]

    def batch(self, texts):
        """The three inputs of the model for several texts, as nested lists, padded to the longest."""
        rows = [self.encode(text) for text in texts]
        longest = max(map(len, rows))
        return {"input_ids": [row + [0] * (longest - len(row)) for row in rows],
                "attention_mask": [[1] * len(row) + [0] * (longest - len(row)) for row in rows],
                "token_type_ids": [[0] * longest for _ in rows]}
