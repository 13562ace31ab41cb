"""A hundred thousand words and phrases to teach a text tower: WordNet's nouns, what they mean, and phrases of them.

The nouns are those of ImageNet's 21,843 classes, as timm carries them, and the names of its 1,000 classes, as open_clip
has them. What is made of them depends on a number and a seed alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from samclip_edge import data
from samclip_edge.text.names import BACKGROUND_NAMES, read_names
from samclip_edge.train.data.everyday import ADJECTIVES, COLOURS, EVERYDAY, JOINED, MATERIALS
from samclip_edge.train.data.sources import generator, number_of

_HELD_OUT = 1000  # words that no text is made of, or a tenth of a small corpus
_LONGEST = 12  # words of a description; what follows is cut off

Draw = Callable[[], str]


class Words(NamedTuple):
    """A corpus: different texts in lower case, in a random order."""

    taught: list[str]
    held_out: list[str]  # nouns that are not in `taught`, and that no phrase was drawn with


def class_names() -> list[str]:
    """The names of ImageNet's 1,000 classes, in their order."""
    from open_clip import IMAGENET_CLASSNAMES  # slow to import, as timm is

    return list(IMAGENET_CLASSNAMES)


def words(count: int, seed: int) -> Words:
    """A corpus of `count` texts to teach, and those held out.

    The names that people ask for (ImageNet's classes, everyday things) come first, then nouns and descriptions of
    WordNet as far as `count` goes. What is missing is drawn: nouns with a colour, a material or an adjective before
    them, in the plural, and two nouns joined. Half of the drawn nouns are everyday ones.
    """
    random = generator(seed, "words")
    common = _each_once([*class_names(), *EVERYDAY, *read_names(data.RIVALS), *BACKGROUND_NAMES])
    nouns, descriptions = _word_net()
    rare = sorted({*_each_once(nouns)} - {*common})
    rare = [rare[place] for place in random.permutation(len(rare))]
    number = min(_HELD_OUT, count // 10)
    held_out, rare = rare[:number], rare[number:]
    apart = set(held_out)
    others = sorted({*rare, *_each_once(descriptions)} - apart)
    others = [others[place] for place in random.permutation(len(others))]
    taught = dict.fromkeys([*common, *others][:count])
    for text in _drawn(Random(number_of(seed, "phrases")), common, rare):
        if len(taught) >= count:
            break
        if text not in apart:
            taught[text] = None
    ordered = list(taught)
    return Words([ordered[place] for place in random.permutation(len(ordered))], held_out)


def _each_once(texts: list[str]) -> list[str]:
    """The texts in lower case, in order, each once."""
    return list(dict.fromkeys(filter(None, map(_plain, texts))))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _word_net() -> tuple[list[str], list[str]]:
    """The nouns of every class of ImageNet's 21,843, and the first words of their descriptions."""
    from timm.data import ImageNetInfo

    nouns: list[str] = []
    descriptions: list[str] = []
    for line in ImageNetInfo("imagenet21k_goog").label_descriptions(detailed=True):
        lemmas, _, meaning = line.partition(": ")
        nouns.extend(lemmas.split(", "))
        first = re.sub(r"\([^)]*\)", " ", meaning.partition(";")[0]).split()
        descriptions.append(" ".join(first[:_LONGEST]))
    return nouns, descriptions


def _drawn(random: Random, common: list[str], rare: list[str]) -> Iterator[str]:
    """Yield phrases of nouns without end."""

    def one(of: Sequence[str]) -> str:
        return of[int(random.random() * len(of))]

    def noun() -> str:
        return one(common if random.random() < 0.5 else rare)

    def thing() -> str:
        """A noun, most often with a word before it."""
        before = random.choices((COLOURS, MATERIALS, ADJECTIVES, ("",)), (0.3, 0.15, 0.3, 0.25))[0]
        return f"{one(before)} {noun()}".strip()

    draws: tuple[Draw, ...] = (thing, lambda: plural(noun()), lambda: one(JOINED).format(thing(), thing()))
    while True:
        yield _plain(random.choices(draws, (0.4, 0.15, 0.45))[0]())


def plural(noun: str) -> str:
    """The plural of an English noun, by the rule; the few without a rule come out wrong."""
    if re.search("(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search("[^aeiou]y$", noun) else f"{noun}s"
