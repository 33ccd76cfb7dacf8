"""Which heads predict from a bank, and what of its vectors they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from prefixbank.artifacts.embeddings import origin_in
from prefixbank.artifacts.json_files import read_json
from prefixbank.artifacts.pooling import pooling_in
from prefixbank.artifacts.probe import PROBE, refuse_unusable
from prefixbank.artifacts.source_head import BANK, HEAD, HEADS, source_names
from prefixbank.choices import HeadLongTexts, Pairs, Reading
from prefixbank.config.schema import (
    EmbedRecipe,
    PoolingConfig,
    WindowSettings,
    effective,
)
from prefixbank.config.settings import close_match, written
from prefixbank.data.encoders.files import EncoderFiles
from prefixbank.errors import PrefixbankError, UsageError, did_you_mean, raise_faults
from prefixbank.steps.embed.spec import UNCALIBRATED, EmbeddingSpec, specs_of
from prefixbank.steps.probe.step import STEP as PROBE_STEP
from prefixbank.store.artifact import Entry
from prefixbank.store.key import JSON
from prefixbank.store.store import Store

SOURCE = "source/"
"""What names of source heads may begin with."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """What predicts one task.

    Args:
        name: of its columns.
        entry: the probe, or the bank that has the head of a source.
        needs: indices of the embeddings that it reads, side by side, among those that are made.
        readings: readings of pairs that it reads.
        source: of a source's head: the index of its block in the bank, and its number among the
            heads of that block. None: a probe.
        paired: whether it was fitted on pairs of texts; None: not known of the head of a source.
        max_length_tokens: tokens of a text that a source was trained on; None: not known, or a
            probe, which says more than that of how its texts were read.
    """

    name: str
    entry: Entry
    needs: tuple[int, ...]
    readings: tuple[Reading, ...]
    source: tuple[int, int] | None = None
    paired: bool | None = None
    max_length_tokens: int | None = None

    @property
    def identity(self) -> JSON:
        """What of the artifact enters a key."""
        if self.source is None:
            return {"probe": self.entry.digest}
        index, number = self.source
        single = f"{index}.{HEAD}" in self.entry.files
        file = self.entry.files[f"{index}.{HEAD if single else HEADS}"]
        described = read_json(self.entry, BANK)["blocks"][index]["heads"][number]
        return {"head": file.sha256, "number": number, **described}


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Heads that predict together, and the embeddings that they need.

    Args:
        heads: in the order of their columns.
        specs: how the texts are embedded; the heads count these.
    """

    heads: tuple[Head, ...]
    specs: tuple[EmbeddingSpec, ...]

    def reading_long(self, long: HeadLongTexts, windows: WindowSettings) -> Heads:
        """Return the same heads on texts of which long ones are read in another way.

        Args:
            long: what becomes of texts that are too long.
            windows: how windows are read; for `long=windows`.

        Raises:
            UsageError: one for each source beside a probe that was fitted on windows, which no
                source was, if `long` leaves it at that.
        """
        if long == "as_fitted":
            self._check_sources()
            return self
        recipe = replace(
            self.specs[0].recipe,
            long=long,
            window_overlap=windows.window_overlap,
            window_pooling=windows.window_pooling,
        )
        return replace(self, specs=tuple(replace(spec, recipe=recipe) for spec in self.specs))

    def _check_sources(self) -> None:
        probes = [head.name for head in self.heads if head.source is None]
        if not probes or self.specs[0].recipe.long != "windows":
            return
        raise_faults(
            [
                UsageError(
                    f"head {head.name} reads the beginning of long texts, and {probes[0]} their "
                    "windows",
                    expected="heads that read long texts alike",
                    fix="long=windows    or predict with them in two commands",
                )
                for head in self.heads
                if head.source is not None
            ]
        )

    def check_texts(self, *, paired: bool) -> None:
        """Refuse single texts for a head that reads pairs, and pairs for one that does not.

        Raises:
            UsageError: one for each such head.
        """
        raise_faults(
            [
                UsageError(
                    f"head {head.name} reads {'pairs of' if head.paired else 'single'} texts",
                    expected="texts as those that it was fitted on",
                    fix="corpus.column_pair=NAME names the second texts    (in Python: pairs=)"
                    if head.paired
                    else "corpus.column_pair=''    (in Python: pairs=None)",
                )
                for head in self.heads
                if head.paired is not None and head.paired != paired
            ]
        )


def resolve_heads(
    store: Store,
    bank: Entry | None,
    files: EncoderFiles,
    pooling: PoolingConfig,
    names: Sequence[str],
    *,
    bank_name: str,
    recipe: EmbedRecipe | None = None,
    probes: Mapping[str, Entry] = MappingProxyType({}),
) -> Heads:
    """Return the heads of these names on a bank.

    Args:
        store: where probes are.
        bank: the bank's artifact; None is the plain encoder.
        files: its encoder.
        pooling: of the plain encoder, or of a multi-task one.
        names: probes and sources, as `heads=` lists them.
        bank_name: name of the bank, `plain` without one.
        probes: those of a bundle by name, which come before those of the store.
        recipe: how to embed for heads of sources alone; probes say it themselves. None: as the
            sources were trained.

    Raises:
        UsageError: one for each head that is not there, is on another bank, or embeds texts
            otherwise than the first.
    """
    if not names:
        raise UsageError(
            "no heads given",
            expected="probes, or sources of a bank of read-outs: heads=[NAME,NAME]",
            fix="prefixbank cache ls probe    lists all probes",
        )
    once = tuple(dict.fromkeys(names))
    faults: list[PrefixbankError] = [
        UsageError(
            f"head {name} is given twice",
            expected="each head once",
            fix=f"heads=[{','.join(once)}]",
        )
        for name in once
        if list(names).count(name) > 1
    ]
    bank_of_heads = _Bank(
        store=store, entry=bank, name=bank_name, files=files, pooling=pooling, probes=probes
    )
    found: list[tuple[Head, EmbedRecipe | None, PoolingConfig]] = []
    for name in once:
        try:
            found += bank_of_heads.find(name)
        except UsageError as fault:
            faults.append(fault)
    faults += _unlike([(head, one, plain) for head, one, plain in found if one is not None])
    faults += _scaled(found)
    faults += _of_other_lengths(found, recipe)
    faults += _clashes([head.name for head, _, _ in found])
    raise_faults(faults)
    recipe = _read_by(found, recipe)
    plain = next((one for _, recipe, one in found if recipe is not None), pooling)
    every = [head for head, _, _ in found]
    recipe = replace(recipe, pairs=_pairs_for(every))
    if all(head.source is not None for head in every):
        recipe = replace(recipe, normalize=False)  # they were trained on vectors as they are
    specs = specs_of(bank, files, recipe, plain)
    needed = sorted({index for head in every for index in head.needs})
    return Heads(
        heads=tuple(
            replace(head, needs=tuple(needed.index(index) for index in head.needs))
            for head in every
        ),
        specs=tuple(specs[index] for index in needed),
    )


@dataclass(frozen=True, kw_only=True)
class _Bank:
    """Finds heads on one bank."""

    store: Store
    entry: Entry | None
    name: str
    files: EncoderFiles
    pooling: PoolingConfig
    probes: Mapping[str, Entry]

    def find(self, name: str) -> list[tuple[Head, EmbedRecipe | None, PoolingConfig]]:
        """Return the heads of a name, with how their vectors are embedded if a probe says so."""
        sources = [] if self.entry is None else source_names(self.entry)
        block, task = _source_and_task(name.removeprefix(SOURCE), sources)
        probe = None if name.startswith(SOURCE) else self._probe(name)
        if probe is not None and name in sources:
            raise UsageError(
                f"head {name} is a probe and a source of the bank",
                expected="the one that is meant",
                fix=f"probe/{name}    or {SOURCE}{name}",
            )
        if probe is not None:
            return [probe]
        if block in sources and self.entry is not None:
            heads = self._of_source(block, self.entry, sources.index(block))
            if chosen := [one for one in heads if not task or one[0].name == f"{block}.{task}"]:
                return chosen
        if name.startswith(SOURCE):
            raise UsageError(
                f"no source '{block}' in the bank{did_you_mean(block, sources)}",
                expected=f"one of {', '.join(sources)}"
                if sources
                else "a bank of read-outs, prefix.kind=readout, whose sources have heads",
                fix=f"heads=[{SOURCE}{sources[0]}]" if sources else "a probe: heads=[NAME]",
            )
        if sources and (meant := close_match(name, sources)):
            raise UsageError(
                f"no probe and no source '{name}'; did you mean the source '{meant}'?",
                expected=f"a probe, or one of {', '.join(sources)}",
                fix=f"heads=[{meant}]    in place of {name}",
            )
        entry = self.store.resolve("probe", name)  # refuses a name, and lists those that there are
        raise UsageError(
            f"head {name} is the result of {entry.step.replace('_', '-')}, not a probe",
            expected="the ref, name or key of a probe",
            fix="prefixbank cache ls probe    lists all probes",
        )

    def _probe(self, name: str) -> tuple[Head, EmbedRecipe, PoolingConfig] | None:
        """Return the probe of this name, or of this name on the bank; None if there is none.

        Of two, the one that was fitted on the bank.
        """
        plain = name.removeprefix("probe/")
        if plain in self.probes:
            return self._of_probe(plain, self.probes[plain])
        faults = []
        for text in (name, f"{name}@{self.name}"):
            try:
                entry = self.store.resolve("probe", text)
            except UsageError:
                continue
            if entry.step == PROBE_STEP:
                try:
                    return self._of_probe(plain, entry)
                except UsageError as fault:
                    faults.append(fault)
        if faults:
            raise faults[0]
        return None

    def _of_probe(self, name: str, probe: Entry) -> tuple[Head, EmbedRecipe, PoolingConfig]:
        result = read_json(probe, PROBE)
        refuse_unusable(result, name)
        recipe, pooling = self._recipe(name, result["vectors"][0])
        specs = specs_of(self.entry, self.files, recipe, pooling)
        ours = [origin_in(spec.document({})) for spec in specs]
        missing = [one for one in result["vectors"] if one not in ours]
        if missing:
            raise self._other_vectors(name, probe, missing[0], ours)
        head = Head(
            name=name,
            entry=probe,
            needs=tuple(ours.index(one) for one in result["vectors"]),
            readings=tuple(result["fits"][0]["reads"]["readings"]),
            paired=result["paired"],
        )
        return head, recipe, pooling

    def _recipe(self, name: str, origin: JSON) -> tuple[EmbedRecipe, PoolingConfig]:
        """Return how a probe's vectors were embedded."""
        config: dict[str, Any] = dict(origin["config"])
        pooling = config.pop("pooling", None)
        recipe = EmbedRecipe(**config) if origin["step"] == "embed" else None
        if recipe is None or recipe.calibrated_by:
            kind = (
                "several representations side by side"
                if recipe is None
                else f"vectors calibrated by {recipe.calibrated_by}"
            )
            raise UsageError(
                f"probe {name} reads {kind}, which belong to the texts that it was fitted on",
                expected="a probe on the vectors of one bank, as float32 or float16 and without a "
                "transform",
                fix=f"prefixbank probe ... {UNCALIBRATED}",
            )
        return recipe, self.pooling if pooling is None else pooling_in(pooling)

    def _other_vectors(
        self, name: str, probe: Entry, origin: JSON, ours: Sequence[JSON]
    ) -> UsageError:
        """Return the error for a probe on vectors that the bank does not make."""
        fits = [one for one in ours if one["inputs"] == origin["inputs"]]
        if origin["inputs"]["encoder"] != self.files.digest:
            reason = f"the encoder is {self.files.label}, and the probe was fitted on another one"
        elif fits and fits[0]["version"] != origin["version"]:
            reason = "another version of prefixbank embedded what the probe was fitted on"
        elif "readouts" in origin["inputs"]:
            reason = "the probe reads a block that the bank does not have, or not any more"
        else:
            reason = "the probe was fitted on another one"
        given = "the plain encoder" if self.entry is None else f"bank {self.name}"
        bank, made = probe.info["bank"], "none" if self.entry is None else self.name
        return UsageError(
            f"probe {name} with {given}: {reason}",
            expected=f"the bank of the probe: {bank[:8] if bank else 'none, the plain encoder'}",
            fix=f"prefixbank probe bank={made} ... name=NEW    with the settings of "
            f"{probe.info['task']} fits one for these vectors",
        )

    def _of_source(
        self, name: str, bank: Entry, index: int
    ) -> list[tuple[Head, EmbedRecipe | None, PoolingConfig]]:
        """Return the heads of a source, one for each task that it was trained on."""
        plain = bank.document["config"]["combine"]["plain"]
        described = read_json(bank, BANK)["blocks"][index]["heads"]
        tasks = bank.info["head_tasks"][index]
        lengths = bank.info.get("head_lengths")  # banks of older versions have none
        return [
            (
                Head(
                    name=name if len(described) == 1 else f"{name}.{task}",
                    entry=bank,
                    needs=(index + bool(plain),),
                    readings=(one["pairs"],),
                    source=(index, number),
                    max_length_tokens=lengths and lengths[index],
                ),
                None,
                self.pooling,
            )
            for number, (one, task) in enumerate(zip(described, tasks, strict=True))
        ]


def _source_and_task(name: str, sources: Sequence[str]) -> tuple[str, str]:
    """Return the source that a name begins with, and its task; names may have dots themselves."""
    if name in sources:
        return name, ""
    begins = [source for source in sources if name.startswith(f"{source}.")]
    source = max(begins, key=len, default=name)
    return source, name.removeprefix(source).removeprefix(".")


def _pairs_for(heads: Sequence[Head]) -> Pairs:
    """Return the reading of pairs that has all that the heads read."""
    read = {one for head in heads for one in head.readings}
    if len(read) > 1:
        return "both"
    return "separate" if "separate" in read else "joint"


def _unlike(found: Sequence[tuple[Head, EmbedRecipe, PoolingConfig]]) -> list[UsageError]:
    """Return a fault for each head whose vectors are embedded otherwise than those of the first.

    How pairs are read does not count.
    """
    described = [
        {
            **{name: value for name, value in asdict(effective(recipe)).items() if name != "pairs"},
            **{f"pooling.{name}": value for name, value in asdict(pooling).items()},
        }
        for _, recipe, pooling in found
    ]
    faults = []
    for (head, *_), theirs in zip(found[1:], described[1:], strict=True):
        ours = described[0]
        names = [name for name, value in theirs.items() if value != ours[name]]
        if names:
            one, other = (
                ", ".join(f"{name}={written(values[name])}" for name in names)
                for values in (theirs, ours)
            )
            faults.append(
                UsageError(
                    f"head {head.name} reads vectors of {one}, and {found[0][0].name} of {other}",
                    expected="heads on vectors that were embedded alike",
                    fix="predict with them in two commands    or fit one again: prefixbank probe",
                )
            )
    return faults


def _scaled(
    found: Sequence[tuple[Head, EmbedRecipe | None, PoolingConfig]],
) -> list[UsageError]:
    """Return a fault for each source beside a probe on scaled vectors.

    Heads of sources were trained on vectors as they are.
    """
    scaled = [head.name for head, recipe, _ in found if recipe is not None and recipe.normalize]
    return [
        UsageError(
            f"head {head.name} reads vectors as they are, and {scaled[0]} those of normalize=true",
            expected="heads on vectors that were embedded alike",
            fix="predict with them in two commands",
        )
        for head, recipe, _ in found
        if scaled and recipe is None
    ]


def _read_by(
    found: Sequence[tuple[Head, EmbedRecipe | None, PoolingConfig]], given: EmbedRecipe | None
) -> EmbedRecipe:
    """Return how texts are embedded: as the first probe says, as given, or as for the sources."""
    for _, recipe, _ in found:
        if recipe is not None:
            return recipe
    lengths = [head.max_length_tokens for head, _, _ in found if head.max_length_tokens]
    own = EmbedRecipe(max_length_tokens=lengths[0]) if lengths else EmbedRecipe()
    return given or own


def _of_other_lengths(
    found: Sequence[tuple[Head, EmbedRecipe | None, PoolingConfig]], given: EmbedRecipe | None
) -> list[UsageError]:
    """Return a fault for each source that was trained on more or less of a text than is read.

    What the caller gives is meant.
    """
    has_probe = any(recipe is not None for _, recipe, _ in found)
    if given is not None and not has_probe:
        return []
    recipe = _read_by(found, given)
    if recipe.long == "windows":
        return []  # texts are read whole
    read = recipe.max_length_tokens
    return [
        UsageError(
            f"head {head.name} reads {head.max_length_tokens} tokens of a text, and the others "
            f"{read}",
            expected="heads that were fitted on as many tokens of a text",
            fix="predict with them in two commands    or fit one again with "
            f"max_length_tokens={read}",
        )
        for head, own, _ in found
        if own is None and head.max_length_tokens not in (None, read)
    ]


def _clashes(names: Sequence[str]) -> list[UsageError]:
    """Return a fault for each head whose columns would have the name of others."""
    others = ("id", "row", "text", "text_pair")
    made = [f"{name}.{column}" for name in names for column in ("probability", "abstained")]
    return [
        UsageError(
            f"head {name} has the name of another column of the predictions",
            expected=f"heads of different names, none of them {', '.join(others)}",
            fix="predict in two commands    or give the probe another name",
        )
        for number, name in enumerate(names)
        if name in (*names[:number], *others, *made)
    ]
