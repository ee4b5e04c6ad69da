"""Parts: references to them, and changes laid over them.

A part is referred to by the name of a file of `configs/parts/*/`, by the path of a YAML file, or
written out as a mapping with `kind`. A mapping with `part: REFERENCE` (or `base:`) is that part
with the keys beside it laid over it, key by key, at any depth: a part may hold parts. Some keys of
a part (`Part.presets`) may name a preset, a file of a folder below `configs/parts/`, likewise.

Whoever changes a value drops `calibrated` and the sources of what changed
(`simulator.config.provenance`). Whoever changes which part it is drops everything that was laid
over the part before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from simulator._plugin_files import FileReference, anchored, from_file, short_name
from simulator._plugins import load_plugin
from simulator.config.catalogue import directory, find
from simulator.config.machine import CHOOSERS, PART_CONTRACT, Part
from simulator.config.nodes import Node, different
from simulator.config.part_keys import full_key, parts_in
from simulator.config.problems import did_you_mean, validate
from simulator.config.provenance import as_changed, carried_over, surviving, with_doubt
from simulator.config.reader import Document, KeyPath, dotted, read_yaml
from simulator.errors import ConfigError, Problem, UsageError
from simulator.text import shown

__all__ = ["Kinds", "PartReader", "part_files", "read_part"]

Kinds = Mapping[str, type[Part]]


def part_files() -> dict[str, Path]:
    """The catalogue's parts by name, in the order of their folders.

    Raises `ConfigError` where two folders hold files of one name.
    """
    files: dict[str, Path] = {}
    problems = []
    for file in sorted(directory("parts").glob("*/*.yaml")):
        first = files.setdefault(file.stem, file)
        if first != file:
            message = f"is the name of two parts: the other is {first}"
            problems.append(Problem(str(file), "", message, "rename one of the files"))
    if problems:
        raise ConfigError(*problems)
    return files


@cache
def _adapter(model: type[Part]) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def read_part(reference: Document, changes: Mapping[str, Document], kinds: Kinds) -> Part:
    """The part that `reference` stands for, with `changes` by dotted key laid over it.

    A key may be the last word of one (`rp` for `timing.rp`) where only one ends so. Raises
    `ConfigError` with every problem.
    """
    reader = PartReader(kinds)
    node = reader.part(Node.of(reference.data, reference.marks, Path()), ())
    for key, document in changes.items():
        node = node and reader.changed(node, key, document)
    value = None if node is None else reader.value(node, ())
    if reader.problems or value is None:
        raise ConfigError(*dict.fromkeys(reader.problems))
    return value


class PartReader:
    """Follows references, lays changes over parts, validates them; collects every problem."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.problems: list[Problem] = []

    @cached_property
    def _files(self) -> dict[str, Path]:
        return part_files()

    def part(
        self,
        node: Node,
        key: KeyPath,
        trail: tuple[Path, ...] = (),
        kept: Collection[str] = (),
    ) -> Node | None:
        """The part that `node` stands for, with all its keys; None after a problem.

        `key` is the path that messages name, `trail` the files that led here, `kept` keys that
        stand beside those of the part.
        """
        if isinstance(node.value, str):
            return self._entry(node, key, trail, self._files, "parts")
        if not node.is_mapping:
            message = f"is {shown(node.plain())}: expected the name of a part, or its keys"
            self._refused(node.mark.value, key, message)
            return None
        chosen = self._chosen(node, key)
        if chosen is None:
            return self._complete(node, key, trail)
        inner = key if chosen.is_mapping else (*key, next(c for c in CHOOSERS if c in node))
        base = self.part(chosen, inner, trail)
        return base and self._laid(base, node.without(CHOOSERS), key, kept)

    def over(
        self, base: Node, changes: Node, key: KeyPath, kept: Collection[str] = ()
    ) -> Node | None:
        """`changes` laid over the part `base`; where they choose another part, only the keys
        `kept` stay of the old one."""
        if isinstance(changes.value, str):
            changes = replace(changes, value={"part": changes})
        if not changes.is_mapping:
            return changes
        fresh = self._another(base, changes, key)
        if fresh is not None:
            part = self.part(fresh, key, (), kept)
            return part and part.with_keys(dict(base.only(set(kept) - set(part.keys())).items()))
        return self._laid(base, changes.without(CHOOSERS), key, kept)

    def _another(self, base: Node, changes: Node, key: KeyPath) -> Node | None:
        """`changes` where they say another part than `base`; None where they only change it."""
        chosen = self._chosen(changes, key)
        if chosen is None:
            return changes if "kind" in changes else None
        if isinstance(chosen.value, str) and base.entry:
            file, _, _ = find(chosen.value, chosen.folder, self._files, "parts")
            if file is not None and str(file.resolve()) == base.entry:
                return None
        return changes

    def is_link(self, part: Node) -> bool | None:
        """Whether a part joins others; None where its kind does not say."""
        model = self._model(part)
        return None if model is None else model.links

    def changed(self, part: Node, key: str, document: Document) -> Node | None:
        """The expanded `part` with one (dotted, or short) key changed; as it is where there is no
        such key."""
        model = self._model(part)
        path, hint = full_key(key, model) if model else (key, "")
        where = document.marks.value(())
        if not path:
            message = f"names no key of {part.text('name') or 'the part'}"
            self.problems.append(Problem(where, key, message, hint))
            return part
        node = Node.of(document.data, document.marks, Path())
        for name in reversed(path.split(".")):
            node = Node({name: node}, node.mark, node.folder)
        return self.over(part, node, ())

    def value(self, node: Node, key: KeyPath) -> Part | None:
        """The validated part; None after problems."""
        model = self._model(node)
        if model is None:
            self._no_kind(node, (*key, "kind"))
            return None
        if self._misplaced(node, key, model):
            return None
        node = _of_its_word(self._hoisted(node), model)
        value, problems = validate(_adapter(model), node.plain(), node.marks, key)
        self.problems += problems
        return value if isinstance(value, Part) else None

    def _no_kind(self, node: Node, key: KeyPath) -> None:
        """That a part is of no kind that there is."""
        kind, known = node.get("kind"), ", ".join(sorted(self.kinds))
        if kind is None:
            message = "is missing: which kind of part it is"
            hint = f"one of: {known}; or name a part of the catalogue: `part: NAME`"
            self._refused(node.mark.value, key, message, hint)
            return
        name = kind.plain()
        if isinstance(name, str) and from_file(name) is not None:
            try:
                load_plugin(self._anchored(node), PART_CONTRACT)
            except UsageError as error:
                self._refused(kind.mark.value, key, str(error))
            return
        message = f"is {shown(name)}: there is no such kind of part"
        hint = f"{did_you_mean(name, self.kinds)} known: {known}".strip()
        self._refused(kind.mark.value, key, message, hint)

    def _misplaced(self, node: Node, key: KeyPath, model: type[Part]) -> bool:
        """Whether a field holds a part of another kind than it is for: a problem for each."""
        before = len(self.problems)
        for name, wanted in _part_fields(model).items():
            inner = node.get(name)
            given = None if inner is None else self._model(inner)
            if inner is None or given is None or issubclass(given, wanted):
                continue
            kinds = sorted(n for n, kind in self.kinds.items() if issubclass(kind, wanted))
            message = f"is a part of kind {inner.text('kind')}: expected {' or '.join(kinds)}"
            self._refused(inner.reference.value, (*key, name), message)
        return len(self.problems) > before

    def _chosen(self, node: Node, key: KeyPath) -> Node | None:
        """What a mapping starts from."""
        given = [node.get(choose) for choose in CHOOSERS if choose in node]
        if len(given) > 1:
            message = "has both `part` and `base`: they mean the same"
            self.problems.append(Problem(node.mark.value, dotted(key), message, "keep one"))
        return given[0] if given else None

    def _refused(self, where: str, key: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(where, dotted(key), message, hint))

    def _entry(
        self,
        name: Node,
        key: KeyPath,
        trail: tuple[Path, ...],
        known: Mapping[str, Path],
        what: str,
    ) -> Node | None:
        """The expanded entry of a name or path: a part, or (`what` is a folder) a preset.

        `key` is the path of the name; what is in the entry stands at that of the part.
        """
        file, message, hint = find(name.value, name.folder, known, what)
        if file is not None and file in trail:
            message = f"{file} leads back to itself"
        if file is None or message:
            self._refused(name.mark.value, key, message, hint)
            return None
        document = read_yaml(file)
        self.problems += document.problems
        node = Node.of(document.data, document.marks, file.parent)
        if document.problems:
            return None
        if not node.is_mapping:
            message = f"is {shown(node.plain())}: an entry is a mapping (key: value)"
            self._refused(node.mark.value, key, message)
            return None
        steps = (*trail, file)
        key = key[:-1] if key and key[-1] in CHOOSERS else key
        preset = what != "parts"
        done = self._preset(node, key, steps, what) if preset else self.part(node, key, steps)
        if done is not None and not preset:
            done = carried_over(done, node)
        return done and replace(done, entry=str(file.resolve()))

    def _complete(self, node: Node, key: KeyPath, trail: tuple[Path, ...]) -> Node | None:
        """A mapping with the references in it followed."""
        model = self._model(node)
        whole = {n: self._inner(inner, (*key, n), trail, model) for n, inner in node.items()}
        return None if None in whole.values() else replace(node, value=whole)

    def _inner(
        self, node: Node, key: KeyPath, trail: tuple[Path, ...], model: type[Part] | None
    ) -> Node | None:
        """A value within a part, the references in it followed."""
        name = str(key[-1])
        folder = model.presets.get(name) if model else None
        if folder is not None:
            return self._preset(node, key, trail, folder)
        named = isinstance(node.value, str) and name in _part_fields(model)
        if named or "kind" in node or self._chosen(node, key):
            part = self.part(node, key, trail)
            return None if part is None else replace(part, named_at=node.mark)
        return self._complete(node, key, trail) if node.is_mapping and name != "sources" else node

    def _preset(
        self, node: Node, key: KeyPath, trail: tuple[Path, ...], folder: str
    ) -> Node | None:
        """A preset by its name, or a mapping with `base: NAME` and its changes."""
        if isinstance(node.value, str):
            files = {f.stem: f for f in sorted(directory(f"parts/{folder}").glob("*.yaml"))}
            return self._entry(node, key, trail, files, folder)
        chosen = node.get("base")
        if chosen is None:
            return node
        base = self._preset(chosen, key, trail, folder)
        if base is None or not base.is_mapping:
            return base
        return with_doubt(base, base.with_keys(dict(node.without(("base",)).items())))

    def _laid(
        self, base: Node, changes: Node, key: KeyPath, kept: Collection[str] = ()
    ) -> Node | None:
        """`changes` (which choose no other part) laid over the expanded part `base`."""
        if not changes.keys():
            return base
        added = changes.get("sources")
        merged = self._merged(base, changes.without(("sources",)), key, self._model(base))
        if merged is None:
            return None
        changed = [path for path in different(base, merged, "") if path not in kept]
        sources = surviving(base.get("sources"), changed, added)
        updates = {} if sources is None else {"sources": sources}
        name = base.get("name")
        if name is not None and "name" not in changes and _own(changed, merged):
            updates["name"] = as_changed(name)
        if set(changed) - {"name"} and "calibrated" not in changes:
            merged = merged.without(("calibrated",))
        return replace(merged.with_keys(updates), entry=base.entry)

    def _merged(
        self, base: Node, changes: Node, key: KeyPath, model: type[Part] | None
    ) -> Node | None:
        """Key by key; references in `changes` are followed."""
        merged = dict(base.value) | {
            name: self._over_value(base.get(name), new, (*key, name), model)
            for name, new in changes.items()
        }
        return None if None in merged.values() else replace(base, value=merged, mark=changes.mark)

    def _over_value(
        self, old: Node | None, new: Node, key: KeyPath, model: type[Part] | None
    ) -> Node | None:
        preset = model is not None and key[-1] in model.presets
        if old is not None and old.is_mapping:
            if preset:
                chosen = new if isinstance(new.value, str) else new.get("base")
                if chosen is None and new.is_mapping:
                    merged = self._merged(old, new, key, None)
                    return merged and with_doubt(old, merged)
            elif "kind" in old:
                part = self.over(old, new, key)
                return None if part is None else replace(part, named_at=new.mark)
            elif new.is_mapping and "kind" not in new and not self._chosen(new, key):
                return self._merged(old, new, key, None)
        return self._inner(new, key, (), model)

    def _model(self, node: Node) -> type[Part] | None:
        """The model of a part's kind, which may be a class of a file; None where there is none."""
        reference = from_file(node.text("kind"))
        if reference is None:
            return self.kinds.get(node.text("kind"))
        try:
            return load_plugin(self._anchored(node), PART_CONTRACT)
        except UsageError:
            return None

    def _anchored(self, node: Node) -> FileReference:
        """The file that the kind of a part refers to, as seen from where the simulator runs."""
        kind = node.value["kind"]
        reference = from_file(anchored(kind.value, kind.folder))
        assert reference is not None
        return reference

    def _hoisted(self, node: Node) -> Node:
        """The sources of presets among those of the part, at every depth."""
        model = self._model(node)
        if model is None:
            return node
        values = dict(node.value)
        sources: dict[Any, Node] = {}
        for name, inner in node.items():
            if name in model.presets and "source" in inner:
                sources[name] = inner.value["source"]
                values[name] = inner.without(("source",))
            elif inner.is_mapping and "kind" in inner:
                values[name] = self._hoisted(inner)
        given = node.get("sources")
        if sources and (given is None or given.is_mapping):
            own = dict(given.items()) if given is not None else {}
            values["sources"] = replace(given or node, value={**sources, **own})
        return replace(node, value=values)


def _of_its_word(node: Node, model: type[Part]) -> Node:
    """A part whose kind is a class of a file, with the word that the class has for it."""
    kind = node.value["kind"]
    if from_file(kind.value) is None:
        return node
    words = get_args(model.model_fields["kind"].annotation)
    word = words[0] if words else short_name(kind.value)
    return node.with_keys({"kind": replace(kind, value=word)})


@cache
def _part_fields(model: type[Part] | None) -> Mapping[str, tuple[type[Part], ...]]:
    """Fields of a model that hold parts, and the models of these."""
    fields = model.model_fields.items() if model else ()
    held = {name: parts_in(field.annotation) for name, field in fields}
    return {name: models for name, models in held.items() if models}


def _own(changed: Iterable[str], part: Node) -> bool:
    """Whether keys of the part itself changed: parts in it have names of their own."""
    heads = {path.partition(".")[0] for path in changed}
    inner = {name for name, value in part.items() if "kind" in value}
    return bool(heads - inner)
