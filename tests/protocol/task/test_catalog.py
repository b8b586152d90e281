import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.task.catalog import BuiltinSource, Catalog, CatalogModel, FolderSource, Impossible
from protocol.wire.messages import TaskSpecification


def make_model(**changes):
    fields = {
        "name": "tiny",
        "title": "Tiny",
        "sizes": ((128, 128), (256, 128)),
        "default_size": (128, 128),
        "default_steps": 15,
        "max_steps": 50,
        "default_guidance": 4.0,
        "max_guidance": 15.0,
        "loading_limit_ms": 30_000,
        "digest": "ab" * 32,
        "licence": "MIT",
        "source": BuiltinSource(kind="builtin", folder="tiny"),
    }
    return CatalogModel(**(fields | changes))


CATALOG = Catalog(models={"tiny": make_model()}, default="tiny", aliases={"dall-e-3": "tiny"})


def make_specification(**changes):
    fields = {"model": "tiny", "prompt": "a cat", "width": 128, "height": 128, "steps": 15, "guidance": 4.0, "seed": 1}
    return TaskSpecification(**(fields | changes))


@pytest.mark.parametrize(
    "changes",
    [{}, {"width": 256}, {"steps": 50}, {"steps": 1}, {"guidance": 15.0}, {"guidance": 0.0}],
)
def test_refusal__within_the_limits__is_none(changes):
    assert CATALOG.refusal(make_specification(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"model": "flux"}, "unknown_model", "there is no model 'flux'; there are: tiny"),
        ({"model": "dall-e-3"}, "unknown_model", "there is no model 'dall-e-3'; there are: tiny"),
        ({"height": 256}, "size_not_offered", "tiny does not draw 128x256; it offers 128x128, 256x128"),
        ({"steps": 51}, "too_many_steps", "tiny takes at most 50 steps, not 51"),
        ({"guidance": 4.69289}, "guidance_too_fine", "guidance is told in hundredths, not 4.69289"),
        ({"guidance": 15.5}, "guidance_too_high", "tiny takes a guidance of at most 15, not 15.5"),
    ],
)
def test_refusal__outside_the_limits__names_what_is_possible(changes, code, detail):
    assert CATALOG.refusal(make_specification(**changes)) == Impossible(code, detail)


def test_offered__model_without_digest__is_known_and_refused_by_name():
    models = {"tiny": make_model(), "big": make_model(name="big", digest=None)}
    catalog = Catalog(models=models, default="tiny", aliases={"dall-e-2": "big"})
    assert catalog.offered() == ("tiny",)
    refusal = Impossible(
        "model_not_pinned", "nobody draws with big here: this network's catalog has no digest of it; there are: tiny"
    )
    assert catalog.refusal(make_specification(model="big")) == refusal
    for name in ("big", "dall-e-2"):
        assert catalog.complete("a cat", seed=1, model=name) == refusal


def test_complete__prompt_alone__takes_the_models_defaults():
    assert CATALOG.complete("a cat", seed=1) == make_specification()


def test_complete__alias__becomes_the_models_name():
    completed = CATALOG.complete("a cat", seed=1, model="dall-e-3", size=(256, 128), steps=7, guidance=2)
    assert completed == make_specification(width=256, steps=7, guidance=2.0)


def test_complete__guidance_to_the_last_digit__is_told_in_hundredths_as_every_miner_takes_it():
    completed = CATALOG.complete("a cat", seed=1, guidance=4.69289043545723)
    assert completed == make_specification(guidance=4.69)
    assert CATALOG.refusal(completed) is None
    fine = make_specification(guidance=4.69289043545723)
    assert CATALOG.impossible(fine) is None, "an engine draws it; nobody orders it"


def test_complete__zero_guidance__is_kept():
    assert CATALOG.complete("a cat", seed=1, guidance=0.0) == make_specification(guidance=0.0)


@pytest.mark.parametrize(
    ("prompt", "changes", "code"),
    [
        ("", {}, "prompt_empty"),
        (" \n", {}, "prompt_empty"),
        ("x" * 2001, {}, "prompt_too_long"),
        ("a cat", {"negative_prompt": "x" * 2001}, "prompt_too_long"),
        ("a cat", {"model": "flux"}, "unknown_model"),
        ("a cat", {"size": (8, 8)}, "size_not_offered"),
        ("a cat", {"size": (100_000, 100_000)}, "size_not_offered"),
        ("a cat", {"steps": 0}, "steps_out_of_range"),
        ("a cat", {"steps": 10**9}, "too_many_steps"),
        ("a cat", {"guidance": -1.0}, "guidance_out_of_range"),
        ("a cat", {"guidance": float("nan")}, "guidance_out_of_range"),
        ("a cat", {"guidance": float("inf")}, "guidance_too_high"),
        ("a cat", {"seed": -1}, "seed_out_of_range"),
        ("a cat", {"seed": 2**63}, "seed_out_of_range"),
    ],
)
def test_complete__wrong_value__is_impossible_by_name(prompt, changes, code):
    answer = CATALOG.complete(prompt, **({"seed": 1} | changes))
    assert isinstance(answer, Impossible)
    assert answer.code == code


@given(
    prompt=st.text(max_size=2100),
    seed=st.integers(),
    model=st.none() | st.sampled_from(["tiny", "dall-e-3", "flux"]) | st.text(max_size=10),
    size=st.none() | st.tuples(st.integers(), st.integers()) | st.just((256, 128)),
    steps=st.none() | st.integers(),
    guidance=st.none() | st.floats() | st.integers(-100, 100),
)
def test_complete__anything__is_a_possible_task_or_a_named_refusal(prompt, seed, model, size, steps, guidance):
    answer = CATALOG.complete(prompt, seed=seed, model=model, size=size, steps=steps, guidance=guidance)
    if isinstance(answer, Impossible):
        assert answer.code
        assert answer.detail
    else:
        assert CATALOG.refusal(answer) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"default_size": (64, 64)}, "default_size must be one of sizes"),
        ({"default_steps": 51}, "default_steps must not exceed max_steps"),
        ({"default_guidance": 16.0}, "default_guidance must not exceed max_guidance"),
        ({"digest": "ab"}, "at least 32 items"),
        ({"digest": "xy" * 32}, "64 hexadecimal digits"),
        ({"name": "Tiny Model"}, "match pattern"),
        ({"sizes": ()}, "at least 1 item"),
    ],
)
def test_catalog_model__contradiction__is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        make_model(**changes)


def test_folder_source__relative_path__is_refused():
    with pytest.raises(ValidationError, match="absolute"):
        FolderSource(kind="folder", path="models/tiny")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"default": "flux"}, "default: there is no model 'flux'"),
        ({"aliases": {"a": "flux"}}, "aliases.a: there is no model 'flux'"),
        ({"aliases": {"tiny": "tiny"}}, "aliases.tiny: is the name of a model"),
        ({"models": {"small": make_model()}}, "models.small: its name is 'tiny'"),
    ],
)
def test_catalog__reference_that_leads_nowhere__is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        Catalog(**({"models": {"tiny": make_model()}, "default": "tiny"} | changes))


SOURCE = {"source": b"i" * 32}


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("work_not_offered", {"work": "image_to_image", **SOURCE}),
        ("work_not_offered", {"work": "inpaint", "mask": b"k" * 32, **SOURCE}),
        ("scheduler_not_offered", {"scheduler": "EulerDiscreteScheduler"}),
        ("numerics_not_offered", {"numerics": "fp16-cuda"}),
    ],
)
def test_refusal__what_the_format_names_and_nobody_builds__is_refused_by_name(code, changes):
    refused = CATALOG.refusal(make_specification(**changes))
    assert refused is not None
    assert refused.code == code


@pytest.mark.parametrize("scheduler", ["", "DDIMScheduler"])
def test_refusal__the_models_own_scheduler__is_none(scheduler):
    catalog = Catalog(models={"tiny": make_model(default_scheduler="DDIMScheduler")}, default="tiny")
    assert catalog.refusal(make_specification(scheduler=scheduler)) is None


EVERYTHING = Catalog(
    models={
        "tiny": make_model(
            works=("text_to_image", "image_to_image", "inpaint"),
            schedulers=("EulerDiscreteScheduler",),
            default_scheduler="DDIMScheduler",
            default_strength=0.6,
        )
    },
    default="tiny",
)
SOURCE, MASK = b"s" * 32, b"m" * 32


def test_complete__source_and_mask__make_the_kind_of_work():
    plain = EVERYTHING.complete("a cat", seed=1)
    beside = EVERYTHING.complete("a cat", seed=1, source=SOURCE)
    over = EVERYTHING.complete("a cat", seed=1, source=SOURCE, mask=MASK, strength=1)
    assert (plain.work, plain.strength, plain.drawn_steps) == ("text_to_image", None, 15)
    assert (beside.work, beside.strength, beside.drawn_steps) == ("image_to_image", 0.6, 9)
    assert (over.work, over.strength, over.drawn_steps) == ("inpaint", 1.0, 15)
    assert (beside.inputs, over.inputs) == ((SOURCE,), (SOURCE, MASK))
    assert beside.pixel_steps == 128 * 128 * 9
    assert all(EVERYTHING.refusal(one) is None for one in (plain, beside, over))


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "euler", "Euler"])
def test_complete__scheduler_by_either_name__is_its_class(name):
    assert EVERYTHING.complete("a cat", seed=1, scheduler=name).scheduler == "EulerDiscreteScheduler"


@pytest.mark.parametrize("name", [None, "", "ddim", "DDIMScheduler"])
def test_complete__own_scheduler_by_any_name__is_drawn_with_those_who_name_none(name):
    assert EVERYTHING.complete("a cat", seed=1, scheduler=name).scheduler == ""


def test_complete__what_version_one_can_say__stays_in_version_one():
    assert EVERYTHING.complete("a cat", seed=1, source=SOURCE, scheduler="euler").version == 1
    kept = EVERYTHING.complete("a cat", seed=1, source=SOURCE, output="webp", quality=80, embed_prompt=True)
    assert (kept.version, kept.output, kept.quality, kept.embed_prompt) == (2, "webp", 80, True)
    assert kept.media_type == "image/webp"
    assert EVERYTHING.complete("a cat", seed=1, embed_prompt=True).version == 2


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mask": MASK}, "source_missing"),
        ({"strength": 0.5}, "strength_unused"),
        ({"source": SOURCE, "strength": 0.0}, "strength_out_of_range"),
        ({"source": SOURCE, "strength": 1.1}, "strength_out_of_range"),
        ({"source": SOURCE, "strength": float("nan")}, "strength_out_of_range"),
        ({"source": SOURCE, "strength": 0.05, "steps": 10}, "strength_too_low"),
        ({"scheduler": "heun"}, "scheduler_not_offered"),
        ({"scheduler": "LMSDiscreteScheduler"}, "scheduler_not_offered"),
        ({"quality": 80}, "quality_unused"),
        ({"quality": 0, "output": "webp"}, "quality_out_of_range"),
    ],
)
def test_complete__wrong_choice_of_work_or_file__is_impossible_by_name(changes, code):
    answer = EVERYTHING.complete("a cat", **({"seed": 1} | changes))
    assert isinstance(answer, Impossible)
    assert answer.code == code


def test_complete__work_of_a_model_that_draws_from_text_alone__says_what_it_does():
    answer = CATALOG.complete("a cat", seed=1, source=SOURCE)
    assert answer == Impossible("work_not_offered", "tiny does text_to_image, not image_to_image")


@pytest.mark.parametrize(
    ("strength", "code"), [(None, "strength_missing"), (0.0, "strength_out_of_range"), (0.01, "strength_too_low")]
)
def test_refusal__image_work_that_takes_no_step__is_refused(strength, code):
    specification = make_specification(work="image_to_image", source=SOURCE, strength=strength)
    assert EVERYTHING.refusal(specification).code == code


def test_catalog_model__scheduler_that_takes_the_network_twice__is_no_name():
    with pytest.raises(ValidationError, match="EulerDiscreteScheduler"):
        make_model(schedulers=("HeunDiscreteScheduler",))
