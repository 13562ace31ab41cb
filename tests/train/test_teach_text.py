"""`teach_text`: a corpus of words, batches of it, and a stage that a sentence encoder teaches, killed or not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from runs import lines, weights

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError
from samclip_edge.model.merged import MergedModel, random_init
from samclip_edge.text.tokenizer import Tokenizer
from samclip_edge.train.conse import Conse
from samclip_edge.train.data.texts import SENTENCES, Sentences, TextSteps
from samclip_edge.train.data.words import Words, plural, words
from samclip_edge.train.recipe import read_recipe
from samclip_edge.train.sentences import Sentences as Encoder
from samclip_edge.train.sentences import Space
from samclip_edge.train.stages import text_loss
from samclip_edge.train.trainer import Trainer

RECIPE = """\
preset: tiny
clip_data: {{scenes: {{first: 100, count: 40}}}}
sam_data: {{scenes: {{first: 100, count: 40}}}}
held_out: {{scenes: {{first: 0, count: 4}}}}
clip_teacher: conse:none.pth:{folder}
save_every: 2
workers: 0
stages:
  - {{task: teach_text, steps: 6, rate: 2.0e-3, texts: {{words: 200, batch: 32}}}}
"""


@pytest.fixture(scope="module")
def corpus() -> Words:
    return words(100_000, 3)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights, as wide as `tiny`'s features, with a tokenizer of letters."""
    folder = tmp_path_factory.mktemp("encoder")
    letters = {word: place for place, word in enumerate(["[PAD]", "[UNK]", *map(chr, range(33, 127))])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(letters, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(letters), hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def recipe(encoder: Path) -> Path:
    path = encoder.parent / "short.yaml"
    path.write_text(RECIPE.format(folder=encoder))
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    folder = recipe.parent / "whole"
    Trainer(read_recipe(str(recipe)), folder).train()
    return folder


def test_the_corpus_is_large_and_has_no_text_twice(corpus: Words) -> None:
    assert len({*corpus.taught, *corpus.held_out}) == len(corpus.taught) + len(corpus.held_out) == 101_000
    assert {"person", "tench", "dining table", "traffic light", "background"} <= set(corpus.taught)


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    assert words(65_000, 3) == words(65_000, 3) != words(65_000, 4)


def test_plurals() -> None:
    assert [plural(noun) for noun in ("cat", "bus", "pony", "key", "peach")] == [
        "cats",
        "buses",
        "ponies",
        "keys",
        "peaches",
    ]


def test_a_text_in_a_sentence_has_the_token_ids_of_the_whole() -> None:
    spec, texts = PRESETS["tiny"].text, ["cat", "st. bernard's dog, 3 of them", "a " * 100]
    made, tokenizer = Sentences(texts, spec), Tokenizer.of(spec)
    for place, text in enumerate(texts):
        for number, sentence in enumerate(SENTENCES):
            assert made([place], [number]).tolist() == tokenizer([sentence.replace("{}", text)]).tolist()


def test_two_processes_and_two_parts_share_the_batch_of_one() -> None:
    texts = [f"word {number}" for number in range(10)]
    features = np.arange(10, dtype=np.float16)[:, None]
    made = Sentences(texts, PRESETS["tiny"].text)
    alone = TextSteps(made, features, 8, 1, range(5), (0, 1), 1)
    whole = [alone[i][0].features for i in range(5)]
    ranks = [TextSteps(made, features, 8, 1, range(5), (rank, 2), 2) for rank in (0, 1)]
    split = [torch.cat([part.features for rank in ranks for part in rank[i]]) for i in range(5)]
    assert [one.flatten().sort().values.tolist() for one in whole] == [
        s.flatten().sort().values.tolist() for s in split
    ]
    assert sorted(torch.cat(whole).flatten().tolist()) == sorted([*range(10)] * 4)  # 40 texts are four epochs


def test_texts_of_a_batch_come_by_length_and_the_loss_is_that_of_whole_rows() -> None:
    texts = ["a dog " * number for number in range(1, 12)]
    model = MergedModel(PRESETS["tiny"]).eval()
    random_init(model, 0)
    features = np.random.default_rng(0).normal(size=(11, 128)).astype(np.float16)
    batch = TextSteps(Sentences(texts, model.spec.text), features, 11, 0, range(1), (0, 1), 1)[0][0]
    ends = (batch.tokens == model.spec.text.end_of_text).int().argmax(dim=1).tolist()
    assert ends == sorted(ends)
    with torch.no_grad():
        wanted = 1 - torch.cosine_similarity(model.text_encoder(batch.tokens), batch.features).mean()
        torch.testing.assert_close(text_loss(model, batch), wanted)


def test_a_sentence_encoder_answers_a_text_alone_as_among_others(encoder: Path) -> None:
    """And as `transformers` does, by the mean over the tokens of its last layer."""
    own = Encoder(encoder, torch.device("cpu"))
    texts = ["a photo of a cat.", "dog", "a very long text about nothing"]
    model = transformers.BertModel.from_pretrained(encoder, add_pooling_layer=False).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    for text, feature in zip(texts, own(texts), strict=True):
        with torch.no_grad():
            mean = model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(feature, mean / mean.norm(), rtol=1e-4, atol=1e-5)


def test_a_space_subtracts_the_mean_of_the_classes() -> None:
    """A stand-in that says how long a text is: 16 letters are the template's."""

    def encode(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[float(len(text)), 1.0] for text in texts])

    space = Space(encode)
    assert space.mean[1] == 1
    assert space.classes.shape == (1000, 2)
    mean = float(space.mean[0]) - len("a photo of a .")
    assert space(["x" * (int(mean) + 2), "x"]).tolist() == [[1, 0], [-1, 0]]


def test_conse_is_the_mean_of_class_features_by_their_chances() -> None:
    """By hand: chances of 3/4 and 1/4 of features (1,0) and (0,1) make (3,1), normalised."""
    shapes = []

    def network(images: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(images.shape))
        return torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log()

    module = torch.nn.Module()
    module.forward = network  # type: ignore[method-assign]
    feature = Conse(module, torch.eye(2))(torch.zeros(2, 3, 64, 64))
    torch.testing.assert_close(feature, torch.tensor([[3 / 10**0.5, 1 / 10**0.5], [0.5**0.5, 0.5**0.5]]))
    assert shapes == [(2, 3, 260, 260)]


def test_a_stage_teaches_the_text_encoder_alone_and_measures_it(whole: Path, recipe: Path) -> None:
    before = Trainer(read_recipe(str(recipe)), whole).start(0).state_dict()
    after = weights(whole / "1-teach_text.safetensors")
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"text_encoder"}
    *steps, last = lines(whole)
    assert steps[-1]["text"] < steps[0]["text"] < 1.3
    measured = last["measured"]
    assert set(measured) == {"word cosine", "sentence cosine", "own word", "skipped steps"}
    assert measured["word cosine"] == pytest.approx(1 - steps[-1]["text"], abs=0.3)


def test_a_killed_stage_goes_on_and_asks_no_teacher_again(whole: Path, recipe: Path, monkeypatch) -> None:
    folder = recipe.parent / "killed"

    class Killed(Exception):
        pass

    def stop(stage: str, step: int, steps: int) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        Trainer(read_recipe(str(recipe)), folder, stop).train()
    monkeypatch.setattr("samclip_edge.train.texts.space", None)
    Trainer(read_recipe(str(recipe)), folder).train()
    ours, theirs = (weights(each / "1-teach_text.safetensors") for each in (folder, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert lines(folder) == lines(whole)


def test_damaged_features_are_made_anew(whole: Path, recipe: Path) -> None:
    folder = recipe.parent / "damaged"
    run = Trainer(read_recipe(str(recipe)), folder)
    (folder / "texts.npz").write_bytes((whole / "texts.npz").read_bytes()[:5000])
    run.train()
    assert lines(folder) == lines(whole)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("clip_teacher: conse:none.pth:", "sam_teacher: ", "teach_text needs the texts' teacher"),
        ("steps: 6, ", "epochs: 2, ", "give texts and steps"),
        (", texts: {words: 200, batch: 32}", "", "texts are for teach_text, which needs them"),
    ],
)
def test_recipes_that_do_not_fit_together(recipe: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(InputError, match=said):
        read_recipe(str(path))


def test_a_folder_that_holds_no_encoder_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, said in ((tmp_path / "none", "no such folder"), (tmp_path / "empty", "cannot be read")):
        path = tmp_path / "bad.yaml"
        path.write_text(RECIPE.format(folder=folder))
        with pytest.raises(InputError, match=said) as caught:
            Trainer(read_recipe(str(path)), tmp_path / said).train()
        assert "\n" not in str(caught.value)


def test_features_of_another_width_are_refused(encoder: Path, tmp_path: Path) -> None:
    config = json.loads((encoder / "config.json").read_text()) | {"hidden_size": 64}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**config)).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(encoder).save_pretrained(tmp_path)
    (tmp_path / "bad.yaml").write_text(RECIPE.format(folder=tmp_path))
    with pytest.raises(InputError, match="have 64 numbers, and tiny's 128"):
        Trainer(read_recipe(str(tmp_path / "bad.yaml")), tmp_path / "run").train()
