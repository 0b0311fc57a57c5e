"""A recipe file is read strictly, and what is written is read back the same."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livertumor_cli.anatomy import SEGMENT_CLASSES
from livertumor_cli.errors import ModelNotFoundError, RecipeError
from livertumor_cli.recipes.recipe import (
    Activation,
    CpuPrecision,
    CudaPrecision,
    Fusion,
    Normalization,
    Recipe,
    Scores,
    Stage,
    StageRole,
    Weighting,
    load_recipe,
    parse_recipe,
    to_toml,
)

HEAD = """\
schema = 1
name = "two-step"
title = "Two steps"
version = "0.1.0"
citation = "A. Author, 2024"
training_data = "phantoms"
license = "CC-BY-SA-4.0"
liver_box_margin_mm = 20.0
"""

SCORES = """
[scores]
on = "6 cases"
liver_dice = 0.95
"""

LIVER = """
[[stages]]
name = "liver"
network = "UNet3D"
file = "liver.onnx"
sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
dimensions = 3
spacing_mm = [4.0, 4.0, 4]
patch = [48, 96, 96]
overlap = [0.5, 0.5, 0.5]
weighting = "gaussian"
hu_window = [-160.0, 240.0]
normalization = "unit"
classes = ["background", "liver"]
activation = "softmax"
scales = [1.0]
fusion = "mean"
cpu_precision = "bf16"
"""

LESION = """
[[stages]]
name = "lesion"
network = "SFAN"
file = "lesion.onnx"
sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
dimensions = 2
spacing_mm = "native"
patch = [1, 256, 256]
overlap = [0, 0.5, 0.5]
weighting = "uniform"
percentiles = [0.5, 99.5]
normalization = "zscore"
classes = ["liver", "tumor"]
activation = "sigmoid"
scales = [0.5, 1.0, 1.5]
fusion = "mean"
cuda_precision = "fp16"
[stages.thresholds]
tumor = 0.4
"""

FULL = HEAD + SCORES + LIVER + LESION


def read(folder: Path, text: str) -> Recipe:
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    return load_recipe(folder)


def test_every_key_arrives(tmp_path: Path) -> None:
    recipe = read(tmp_path, FULL)
    assert recipe.folder == tmp_path
    assert (recipe.name, recipe.license) == ("two-step", "CC-BY-SA-4.0")
    assert recipe.liver_box_margin_mm == 20.0
    assert recipe.scores == Scores(on="6 cases", values={"liver_dice": 0.95})
    assert recipe.authors == Scores()
    assert [stage.name for stage in recipe.stages] == ["liver", "lesion"]

    liver = recipe.stage("liver")
    assert recipe.stage_path(liver) == tmp_path / "liver.onnx"
    assert liver.spacing_mm == (4.0, 4.0, 4.0)
    assert liver.patch == liver.network_patch == (48, 96, 96)
    assert (liver.hu_window, liver.percentiles) == ((-160.0, 240.0), None)
    assert liver.cpu_precision is CpuPrecision.BF16
    assert liver.cuda_precision is CudaPrecision.F32
    assert liver.thresholds == {}

    lesion = recipe.stage(StageRole.LESION)
    assert lesion.spacing_mm is None
    assert lesion.network_patch == (256, 256)
    assert (lesion.hu_window, lesion.percentiles) == (None, (0.5, 99.5))
    assert lesion.normalization is Normalization.ZSCORE
    assert lesion.activation is Activation.SIGMOID
    assert lesion.weighting is Weighting.UNIFORM
    assert lesion.cuda_precision is CudaPrecision.FP16
    assert lesion.scales == (0.5, 1.0, 1.5)
    assert lesion.thresholds == {"tumor": 0.4}


def test_one_lesion_stage_with_liver_stands_alone(tmp_path: Path) -> None:
    recipe = read(tmp_path, HEAD + LESION)
    assert not recipe.has_stage("liver")
    assert recipe.has_stage("lesion")
    with pytest.raises(KeyError, match="no liver stage"):
        recipe.stage("liver")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("schema = 1", "schema = 2", "'schema' is 2, and this version reads 1"),
        ('title = "Two steps"\n', "", "the key 'title' is missing"),
        ('title = "Two steps"', 'titel = "Two steps"', "unknown key 'titel'"),
        ('title = "Two steps"', 'title = " "', "'title' must be a text"),
        ('name = "two-step"', 'name = "../evil"', "'name' is '../evil'"),
        ("margin_mm = 20.0", "margin_mm = -1", "must be 0 or more"),
        ("margin_mm = 20.0", "margin_mm = true", "must be a number, not True"),
        ("liver_dice = 0.95", "liver_dice = nan", "must be a finite number"),
        ('on = "6 cases"\n', "", "[scores]: the key 'on' is missing"),
        ('file = "liver.onnx"', 'file = "../liver.onnx"', "bare name of an .onnx file"),
        ('file = "liver.onnx"', 'file = "liver.pt"', "bare name of an .onnx file"),
        ('sha256 = "0', 'sha256 = "X', "64 lower-case hexadecimal digits"),
        ("dimensions = 3", "dimensions = 4", "'dimensions' must be 2 or 3"),
        ("dimensions = 3", "dimensions = 3.0", "must be a whole number"),
        ("dimensions = 3", "dimensions = 2", "must be [1, y, x]"),
        ("[4.0, 4.0, 4]", "[4.0, 4.0]", "must be a list of 3 values"),
        ("[4.0, 4.0, 4]", "[4.0, 4.0, 0.0]", "three lengths above 0"),
        ("[48, 96, 96]", "[48, 96, 0]", "sizes of 1 or more"),
        ("[0.5, 0.5, 0.5]", "[0.5, 0.5, 1.0]", "shares from 0 to below 1"),
        ('"gaussian"', '"gauss"', "'weighting' is 'gauss'"),
        ("hu_window = [-160.0, 240.0]", "", "exactly one of 'hu_window' and 'percentiles'"),
        ("[-160.0, 240.0]", "[240.0, -160.0]", "'hu_window' must rise"),
        ("percentiles = [0.5, 99.5]", "percentiles = [0.5, 100.5]", "from 0 to 100"),
        ("[0.5, 1.0, 1.5]", "[1.0, 1.0]", "distinct factors above 0"),
        ("[0.5, 1.0, 1.5]", "[]", "a list of one or more values"),
        ('["background", "liver"]', '["background", "spleen"]', "unknown class 'spleen'"),
        ('["background", "liver"]', '["liver", "background"]', "must be 'background' and then"),
        ('["background", "liver"]', '["background", "tumor"]', "must have the class 'liver'"),
        ('["liver", "tumor"]', '["tumor", "tumor"]', "names one twice"),
        ('["liver", "tumor"]', "[1, 2]", "must be a list of texts"),
        ("tumor = 0.4", "vessel = 0.4", "names 'vessel', which is no structure"),
        ("tumor = 0.4", "tumor = 1.5", "must lie between 0 and 1"),
        ('cuda_precision = "fp16"', "half_weights_changed_share = 1.5", "must lie from 0 to 1"),
        ("tumor = 0.4", 'tumor = "half"', "must be a number, not 'half'"),
        ('name = "lesion"', 'name = "liver"', "the stages are: liver, liver"),
        ("[scores]", "[scorse]", "unknown key 'scorse'"),
        ("schema = 1", "schema = 1 = 2", "is not a TOML file"),
    ],
)
def test_a_fault_is_one_sentence_that_names_file_and_key(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert old in FULL
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, FULL.replace(old, new, 1))
    assert sentence in caught.value.message
    assert str(tmp_path / "recipe.toml") in caught.value.message
    assert caught.value.exit_code == 4


def test_a_lone_liver_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the stages are: liver"):
        read(tmp_path, HEAD + LIVER)


def test_a_lone_lesion_stage_needs_the_liver(tmp_path: Path) -> None:
    text = (HEAD + LESION).replace('["liver", "tumor"]', '["tumor"]')
    with pytest.raises(RecipeError, match="stands alone"):
        read(tmp_path, text)


SEGMENTS = (
    LIVER.replace('"liver"', '"segments"', 1)
    .replace("liver.onnx", "segments.onnx")
    .replace(
        '["background", "liver"]',
        str(["background", *SEGMENT_CLASSES]).replace("'", '"'),
    )
)


def test_a_stage_of_segments_may_come_last(tmp_path: Path) -> None:
    for before in (LIVER + LESION, LESION):
        recipe = read(tmp_path, HEAD + before + SEGMENTS)
        stage = recipe.stage(StageRole.SEGMENTS)
        assert stage is recipe.stages[-1]
        assert stage.structures == SEGMENT_CLASSES
        assert parse_recipe(to_toml(recipe), folder=tmp_path) == recipe


SECOND = (
    LESION.replace('"lesion"', '"second_opinion"', 1)
    .replace("lesion.onnx", "second.onnx")
    .partition("[stages.thresholds]")[0]
)


def test_a_second_opinion_follows_the_lesion_stage(tmp_path: Path) -> None:
    recipe = read(tmp_path, HEAD + LIVER + LESION + SECOND + SEGMENTS)
    assert [stage.name for stage in recipe.opinions] == ["lesion", "second_opinion"]
    assert parse_recipe(to_toml(recipe), folder=tmp_path) == recipe
    alone = read(tmp_path, HEAD + LIVER + LESION)
    assert alone.opinions == alone.stages[1:]
    assert alone.with_stage(recipe.stages[3]).with_stage(recipe.stages[2]) == recipe


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (LIVER + SECOND, "the stages are"),
        (LIVER + SECOND + LESION, "the stages are"),
        (LIVER + LESION + SEGMENTS + SECOND, "the stages are"),
        (LIVER + LESION + SECOND + SECOND, "the stages are"),
        (
            LIVER + LESION.replace('"liver", ', "", 1) + SECOND,
            "the lesion stage must have the class 'liver'",
        ),
        (
            LIVER + LESION + SECOND.replace('"liver", ', "", 1),
            "the second_opinion stage must have the class 'liver'",
        ),
        (
            LIVER + LESION + SECOND.replace('"tumor"', '"tumor", "vessel"'),
            "the second opinion tells 'vessel', the lesion stage does not",
        ),
        (
            LIVER + LESION + SECOND + "[stages.thresholds]\ntumor = 0.4\n",
            "the second opinion has 'thresholds'",
        ),
    ],
)
def test_two_answers_must_be_comparable(tmp_path: Path, stages: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        read(tmp_path, HEAD + stages)


def test_a_stage_joins_at_its_place_or_replaces_its_like(tmp_path: Path) -> None:
    whole = read(tmp_path, HEAD + SCORES + LIVER + LESION + SEGMENTS)
    alone = read(tmp_path, HEAD + SCORES + LESION)
    joined = alone.with_stage(whole.stages[2]).with_stage(whole.stages[0])
    assert joined == replace(whole, scores=Scores())
    other = replace(whole.stages[1], file="other.onnx")
    assert whole.with_stage(other).stages == (whole.stages[0], other, whole.stages[2])
    assert [stage.name for stage in alone.stages] == ["lesion"]


def test_scores_hold_for_the_stages_that_they_were_measured_with(tmp_path: Path) -> None:
    whole = read(tmp_path, HEAD + SCORES + LIVER + LESION)
    assert whole.scores.on
    assert whole.with_stage(whole.stages[1]) == whole
    assert whole.with_stage(replace(whole.stages[1], sha256="0" * 64)).scores == Scores()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SEGMENTS, "the stages are: segments"),
        (LIVER + SEGMENTS, "the stages are: liver, segments"),
        (SEGMENTS + LIVER + LESION, "the stages are: segments, liver, lesion"),
        (LIVER + LESION + SEGMENTS + SEGMENTS, "lesion, segments, segments"),
        (LESION + SEGMENTS.replace(', "segment_5"', ""), "lacks the class 'segment_5'"),
        (LESION + SEGMENTS.replace('"segment_5"', '"liver"'), "unknown class 'liver'"),
        (LESION + SEGMENTS + "[stages.thresholds]\nsegment_1 = 0.5\n", "has 'thresholds'"),
        (LESION.replace('"tumor"]', '"segment_1"]'), "unknown class 'segment_1'"),
    ],
)
def test_segments_elsewhere_or_in_part_are_refused(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(RecipeError, match=sentence):
        read(tmp_path, HEAD + text)


def test_stages_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"must be \[\[stages\]\] tables"):
        read(tmp_path, HEAD + "stages = [1]\n")


def test_a_folder_without_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"recipe\.toml cannot be read"):
        load_recipe(tmp_path)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(RecipeError, match="not a TOML file"):
        load_recipe(tmp_path)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
numbers = st.floats(-1e9, 1e9)
lengths = st.floats(0.01, 50.0)
shares = st.floats(0.0, 0.99)
sizes = st.integers(1, 512)


def ranges(low: float, high: float) -> st.SearchStrategy[tuple[float, float]]:
    pairs = st.tuples(st.floats(low, high), st.floats(low, high))
    return pairs.filter(lambda pair: pair[0] < pair[1])


@st.composite
def stages(draw: st.DrawFn, role: StageRole) -> Stage:
    dimensions = draw(st.sampled_from([2, 3]))
    by_percentile = draw(st.booleans())
    classes = ("background", "liver", "tumor")
    return Stage(
        name=role,
        network=draw(texts),
        file=draw(st.from_regex(r"[a-z0-9_][a-z0-9._-]{0,9}\.onnx", fullmatch=True)),
        sha256=draw(st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        dimensions=dimensions,
        spacing_mm=draw(st.none() | st.tuples(lengths, lengths, lengths)),
        patch=draw(st.tuples(st.just(1) if dimensions == 2 else sizes, sizes, sizes)),
        overlap=draw(st.tuples(shares, shares, shares)),
        weighting=draw(st.sampled_from(Weighting)),
        hu_window=None if by_percentile else draw(ranges(-2000, 3000)),
        percentiles=draw(ranges(0, 100)) if by_percentile else None,
        normalization=draw(st.sampled_from(Normalization)),
        classes=classes,
        activation=draw(st.sampled_from(Activation)),
        scales=tuple(draw(st.lists(lengths, min_size=1, max_size=4, unique=True))),
        fusion=draw(st.sampled_from(Fusion)),
        cpu_precision=draw(st.sampled_from(CpuPrecision)),
        cuda_precision=draw(st.sampled_from(CudaPrecision)),
        surroundings_mm=None,
        half_weights_changed_share=draw(st.none() | st.floats(0, 1)),
        thresholds=draw(st.dictionaries(st.sampled_from(classes[1:]), st.floats(0.01, 0.99))),
    )


score_names = texts.filter(lambda name: name != "on")
scores = st.builds(Scores, on=texts, values=st.dictionaries(score_names, numbers, max_size=4))


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    with_liver = draw(st.booleans())
    liver = (draw(stages(StageRole.LIVER)),) if with_liver else ()
    return Recipe(
        folder=Path("unused"),
        name=draw(st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)),
        title=draw(texts),
        version=draw(texts),
        citation=draw(texts),
        training_data=draw(texts),
        license=draw(texts),
        liver_box_margin_mm=draw(st.floats(0, 100)),
        stages=(*liver, draw(stages(StageRole.LESION))),
        scores=draw(st.just(Scores()) | scores),
        authors=draw(st.just(Scores()) | scores),
    )


@given(recipe=recipes())
def test_writing_and_reading_gives_the_same_recipe(
    recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("recipe")
    # Bytes, because a text file would have its line ends changed on some systems.
    (folder / "recipe.toml").write_bytes(to_toml(recipe).encode("utf-8"))
    read_back = load_recipe(folder)
    for name in Recipe.__slots__:
        if name != "folder":
            assert getattr(read_back, name) == getattr(recipe, name)


def test_surroundings_are_read_and_written_back(tmp_path: Path) -> None:
    text = FULL.replace('name = "lesion"', 'name = "lesion"\nsurroundings_mm = 12.5')
    recipe = read(tmp_path, text)
    assert recipe.stage("lesion").surroundings_mm == 12.5
    assert recipe.stage("liver").surroundings_mm is None
    assert "surroundings_mm = 12.5" in to_toml(recipe)


def test_the_share_that_half_weights_change_is_read_and_written_back(tmp_path: Path) -> None:
    line = "half_weights_changed_share = 2.5e-05"
    recipe = read(tmp_path, FULL.replace('name = "lesion"', f'name = "lesion"\n{line}'))
    assert recipe.stage("lesion").half_weights_changed_share == 2.5e-5
    assert recipe.stage("liver").half_weights_changed_share is None
    assert line in to_toml(recipe)


def test_the_first_stage_has_no_liver_to_blank_around(tmp_path: Path) -> None:
    text = FULL.replace('name = "liver"', 'name = "liver"\nsurroundings_mm = 12.5')
    with pytest.raises(RecipeError, match="surroundings_mm"):
        read(tmp_path, text)


def test_the_written_text_reads_like_the_documented_form(tmp_path: Path) -> None:
    recipe = read(tmp_path, FULL)
    assert tomllib.loads(to_toml(recipe))["stages"][1]["thresholds"] == {"tumor": 0.4}
    assert 'spacing_mm = "native"' in to_toml(recipe)


def test_numpy_numbers_are_written_as_numbers(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    recipe = read(tmp_path, FULL)
    scores = Scores(on="x", values={"dice": numpy.float64(0.5)})
    changed = Recipe(**{k: getattr(recipe, k) for k in Recipe.__slots__} | {"scores": scores})
    assert tomllib.loads(to_toml(changed))["scores"]["dice"] == 0.5


def test_what_has_no_form_in_a_recipe_is_not_written(tmp_path: Path) -> None:
    recipe = read(tmp_path, FULL)
    scores = Scores(on="x", values={"dice": True, "half": math.nan})
    changed = Recipe(**{k: getattr(recipe, k) for k in Recipe.__slots__} | {"scores": scores})
    with pytest.raises(TypeError, match="no place for True"):
        to_toml(changed)
