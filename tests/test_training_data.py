"""SST-2's phrases are split so that nothing held out stands in what is trained on."""

from pathlib import Path

import pytest
from training import data
from training.data import Example

LONG = Example("a charming and often affecting journey", 1)
PART = Example("often affecting journey", 1)
SHORT = Example("journey", 1)
OTHER = Example("unflinchingly bleak and desperate to the end", 0)


def test_a_row_inside_a_longer_row_is_not_a_whole_sentence() -> None:
    within = Example("charming and often affecting journey", 1)
    assert data.whole_sentences([within, LONG, OTHER]) == [OTHER, LONG]


def test_phrases_of_three_words_in_a_held_out_sentence_are_not_trained_on() -> None:
    split = data.split([LONG, PART, SHORT], held_out=1, seed=0)
    assert split.held_out == [LONG]
    assert split.phrases == [SHORT]


def test_phrases_of_other_sentences_are_trained_on() -> None:
    split = data.split([LONG, PART, SHORT], held_out=0, seed=0)
    assert split.sentences == [LONG]
    assert split.phrases == [PART, SHORT]


def test_a_text_with_both_labels_is_dropped() -> None:
    doubtful = [Example("it is a film", 0), Example("it is a film", 1)]
    assert data.deduplicated([*doubtful, LONG, LONG]) == [LONG]


def test_a_recombined_sentence_has_another_phrase_of_as_many_words() -> None:
    other = Example("quietly moving portrait", 1)
    split = data.Split([LONG], [PART, other], [])
    made = data.recombined(split, each=8, seed=0)
    assert set(made) == {LONG.text, "a charming and quietly moving portrait"}


def test_a_sentence_of_no_known_phrase_is_not_recombined() -> None:
    assert data.recombined(data.Split([OTHER], [PART], []), each=2, seed=0) == []


@pytest.mark.parametrize(
    ("parted", "written"),
    [
        ("i do n't like it", "i don't like it"),
        ("`` wow '' it is", '"wow" it is'),
        ("a film , perhaps", "a film , perhaps"),
    ],
)
def test_texts_can_be_written_as_people_write_them(parted: str, written: str) -> None:
    assert data.natural(parted) == written


def test_a_folder_without_the_data_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"SST-2\.zip"):
        data.read(tmp_path, "train")
