"""The encoder's time by its functions: what perf prints, added up; perf itself where it is."""

import shutil
from pathlib import Path

import pytest

from bench import engine, roofline_tables, sampling
from bench.work import Shape
from sentiment_k8s.hub import find_model
from sentiment_k8s.model import Model
from sentiment_k8s.tokenizer import Tokens

SMALL = Shape(layers=3, hidden=4, intermediate=16, labels=2)
REPORT = """# To display the perf.data header info, please use --header/--header-only options.
#
# Samples: 4K of event 'cpu-clock:ppp'
#
#       Period|Shared Object                                    |Symbol
 400        |encoder-avx512vnni.so                            |[.] add_block.isra.0
 300        |encoder-avx512vnni.so                            |[.] attend
 100        |encoder-avx512vnni.so                            |[.] apply.constprop.1
 50         |libc.so.6                                        |[.] normalise
 100        |encoder-avx512vnni.so                            |[.] encode
 50         |[kernel.kallsyms]                                |[k] do_anonymous_page

"""
REFUSING = """#!/bin/sh
echo 'Error:
Access to performance monitoring and observability operations is limited.
Consider adjusting /proc/sys/kernel/perf_event_paranoid setting to open' >&2
exit 255
"""


def test_samples_are_added_up_by_kind() -> None:
    found = sampling.summed(REPORT, 2.0, {sampling.OUTWARD: 7, sampling.INWARD: 9})
    assert [(part.kind, part.seconds, part.multiply_adds) for part in found.parts] == [
        (sampling.OUTWARD, 0.8, 7),
        (sampling.ATTENTION, 0.6, 0),
        (sampling.REST, 0.4, 0),
        (sampling.AROUND, 0.2, 0),
    ]


def test_the_encoder_multiplies_the_least_and_the_last_layers_other_queries() -> None:
    lengths = [1, 5, 9]
    found = sum(sampling.multiply_adds(SMALL, lengths).values())
    assert found == sum(SMALL.least(one) + (one - 1) * SMALL.hidden**2 for one in lengths)


def test_a_report_without_samples_is_no_profile() -> None:
    with pytest.raises(sampling.CannotSample, match="took no samples"):
        sampling.summed("# nothing\n", 2.0, {})


def test_without_perf_the_reason_is_that(bundled_model: Model) -> None:
    with pytest.raises(sampling.CannotSample, match="nowhere/perf cannot be run: No such file"):
        sampling.profile(bundled_model, SMALL, batches(bundled_model), perf="nowhere/perf")


def test_where_perf_may_not_sample_the_reason_is_its_own(
    bundled_model: Model, tmp_path: Path
) -> None:
    perf = tmp_path / "perf"
    perf.write_text(REFUSING)
    perf.chmod(0o755)
    with pytest.raises(sampling.CannotSample) as refused:
        sampling.profile(bundled_model, SMALL, batches(bundled_model), perf=str(perf))
    assert str(refused.value) == (
        "perf cannot sample here: "
        "Access to performance monitoring and observability operations is limited."
    )


@pytest.mark.skipif(not shutil.which("perf"), reason="there is no perf")
def test_a_sampled_pass_has_the_products_and_all_of_its_time(model_folder: Path) -> None:
    files = find_model(str(model_folder))
    model = Model(files, threads=1)
    if not model.engine.name.startswith("encoder-"):
        pytest.skip("the encoder is not compiled, or not for this CPU")
    try:
        found = sampling.profile(model, engine.shape_in(files), batches(model), seconds=0.5)
    except sampling.CannotSample as error:
        pytest.skip(str(error))
    assert sum(part.seconds for part in found.parts) == pytest.approx(found.seconds)
    kinds = {part.kind for part in found.parts}
    assert kinds & {sampling.INWARD, sampling.OUTWARD, sampling.WIDENING}


def test_attention_is_measured_against_the_peak_of_floats() -> None:
    parts = [
        {"kind": kind, "seconds": 1.0, "multiply_adds": 10}
        for kind in (sampling.OUTWARD, sampling.ATTENTION)
    ]
    [_, _, product, attention, *_] = rest({"parts": parts, "seconds": 2.0, "texts": 4})
    assert "| 0.10 |" in product
    assert "| 0.50 |" in attention


def test_a_split_that_cannot_be_had_is_left_out_and_says_why() -> None:
    said = rest({"parts": [], "left_out": "perf took no samples."})
    assert said == ["- encoder-avx2, int8, budget 512: without its parts: perf took no samples."]


def batches(model: Model) -> list[list[Tokens]]:
    return [model.tokenizer.encode(["a film worth every minute"] * count) for count in (1, 3)]


def rest(profile: dict[str, object]) -> list[str]:
    """The lines of one way's profile, where floats have a peak of 20 and bytes one of 100."""
    way = {"engine": "encoder-avx2", "precision": "int8", "batching": "budget 512"}
    peaks = [
        {"precision": precision, "by": "", "multiply_adds_a_second": rate}
        for precision, rate in (("fp32", 20.0), ("int8", 100.0))
    ]
    ways = [way | {"texts_a_second": [2.0], "profile": profile}]
    return "\n".join(roofline_tables.rest({"rounds": [{"peaks": peaks}], "ways": ways})).split("\n")
