"""Configured routes: the model groups of a configuration's `model_list`, its wildcards and its aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from outlay.domain.accounts import check_name
from outlay.errors import InvalidValueError, ProviderAuthError
from outlay.providers.target import Target, resolve
from outlay.providers.transport import Timeouts
from outlay.routing.deployments import Deployment, ModelGroup
from outlay.routing.environment import MAX_CACHED
from outlay.routing.listed import chat_models, spelled
from outlay.routing.served import STAR, Served, any_of
from outlay.routing.upstreams import Upstreams, as_listed, is_plain


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of the list: a public name, and what serves it. Both may hold one star."""

    group: str
    model: str
    id: str
    provider: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    own_price: Mapping[str, Any] = field(default_factory=dict)
    base_model: str = ""
    weight: float = 1.0
    timeouts: Timeouts | None = None
    allowed_request_fields: frozenset[str] = frozenset()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether the caller's model says the provider too, and the environment has the key."""
        return self.model == STAR and not self.api_base and not self.provider

    def check(self, environ: Mapping[str, str]) -> Target | None:
        """Where it leads to, with any model for a star; None where that depends on the model.

        Raises:
            InvalidValueError: id, stars, model, provider, key or address cannot be used.
        """
        check_name(self.id, "model_info.id")
        if self.group.count(STAR) > 1 or self.model.count(STAR) > 1:
            raise InvalidValueError("model_name and model may have one * each")
        if STAR in self.model and STAR not in self.group:
            raise InvalidValueError("model has a * and model_name has none: write the model's name")
        if self.is_open:
            if self.api_key:
                raise InvalidValueError(
                    "a model of * leads to every provider, and one api_key must not: leave it out, so that "
                    "each provider's variable is used, or write provider/*"
                )
            return None
        return self._target("any", environ)

    def deployment(self, filling: str, target: Target | None, environ: Mapping[str, str]) -> Deployment:
        """The deployment, with `filling` for the star; an open one leads to `target`."""
        found = target if self.is_open and target is not None else self._target(filling, environ)
        return Deployment(
            self.id,
            found,
            self.own_price,
            self.weight,
            timeouts=self.timeouts,
            base_model=self.base_model,
            allowed_request_fields=self.allowed_request_fields,
            settings=self.settings,
        )

    def _target(self, filling: str, environ: Mapping[str, str]) -> Target:
        model = self.model.replace(STAR, filling)
        try:
            return resolve(
                model, api_key=self.api_key, api_base=self.api_base, provider=self.provider, environ=environ
            )
        except ProviderAuthError as error:
            raise InvalidValueError(error.message) from error


class Alias(NamedTuple):
    """Another name for a model group; a hidden one works and is not listed."""

    group: str
    is_hidden: bool = False


class _Wildcard:
    """The rows of one public name with a star."""

    def __init__(self, pattern: str, rows: Sequence[Row]) -> None:
        self.pattern, self.rows = pattern, tuple(rows)
        before, _, after = pattern.partition(STAR)
        self.before, self.after = before, after
        self._lower = before.lower(), after.lower()

    def filling(self, model: str) -> str | None:
        """What the star stands for in this model, whatever its letters' case; None if it does not match."""
        lower, (before, after) = model.lower(), self._lower
        is_match = lower.startswith(before) and lower.endswith(after)
        filling = model[len(before) : len(model) - len(after)]
        return filling if is_match and is_plain(filling) else None

    def name(self, filling: str, target: Target) -> str:
        """The public name with the star filled: one, however the caller writes its letters."""
        if all(STAR not in row.model for row in self.rows):
            return self.pattern  # they all lead to the same model
        listed = spelled(target.provider.id, target.model) or ""
        is_listed = listed.lower().endswith(filling.lower())
        written = listed[len(listed) - len(filling) :] if is_listed else filling.lower()
        return f"{self.before}{written}{self.after}"


class ConfiguredRoutes:
    """Groups by their public names; else the closest wildcard, whose star the caller's model fills.

    `served` are the rows as they were given, each with where it leads to (None where the model tells).

    Raises:
        InvalidValueError: a row cannot be used, or an alias leads nowhere or hides a group.
    """

    def __init__(self, rows: Sequence[Row], aliases: Mapping[str, Alias], environ: Mapping[str, str]) -> None:
        self._upstreams = Upstreams(environ)
        self.aliases: Final = dict(aliases)
        self.served: Final = tuple((row, row.check(environ)) for row in rows)
        by_name: dict[str, list[Row]] = {}
        for row in rows:
            by_name.setdefault(row.group, []).append(row)
        self._groups = {
            name: ModelGroup(name, tuple(row.deployment("", None, self._upstreams.environ) for row in group))
            for name, group in by_name.items()
            if STAR not in name
        }
        self._wildcards = sorted(
            (_Wildcard(name, group) for name, group in by_name.items() if STAR in name),
            key=lambda wildcard: -len(wildcard.pattern),
        )
        self._by_lower = {name.lower(): group for name, group in reversed(self._groups.items())}
        self._found: dict[str, ModelGroup] = {}
        resolved, aliases_of = self._resolved(aliases), dict[str, tuple[str, ...]]()
        for alias, group in resolved.items():
            aliases_of[group.name] = (*aliases_of.get(group.name, ()), alias)
        self._aliases_of: Final = aliases_of
        fixed = {**self._groups, **resolved}
        one: dict[str, ModelGroup] = {}
        self._fixed = {
            name: one.setdefault(group.name, self._with_aliases(group)) for name, group in fixed.items()
        }
        self._names = self._listed(aliases)

    def find(self, model: str) -> ModelGroup | None:
        """The group of this name or alias, or that of a wildcard with its star filled; else None."""
        found = self._fixed.get(model) or self._found.get(model)
        if found is not None:
            return found
        group = self._matched(model) if is_plain(model) else None
        if group is not None:
            group = self._with_aliases(group)
            if len(self._found) >= MAX_CACHED:
                self._found.clear()
            self._found[model] = group
        return group

    def names(self) -> list[str]:
        """The groups in the file's order, the aliases, and what is known to match a wildcard."""
        return list(self._names)

    @property
    def providers(self) -> tuple[str, ...]:
        """Those of the rows, and of the environment where a caller's model says which."""
        ids = [target.provider.id for _, target in self.served if target is not None]
        is_open = len(ids) < len(self.served)
        return tuple(dict.fromkeys((*ids, *(self._upstreams.providers if is_open else ()))))

    def served_models(self) -> list[Served]:
        """The groups, their aliases and the wildcards."""
        groups = [*self._groups.items(), *((name, self._fixed[name]) for name in self.aliases)]
        served = [Served(name, _providers(group)) for name, group in groups]
        for wildcard in self._wildcards:
            rows = [(row, target) for row, target in self.served if row.group == wildcard.pattern]
            ids = tuple(target.provider.id for _, target in rows if target is not None)
            is_filled = any(STAR in row.model for row, _ in rows)
            if ids:
                served.append(Served(wildcard.pattern, ids, is_filled))
            if len(ids) < len(rows):
                served += any_of(self._upstreams.providers)
        return served

    def _with_aliases(self, group: ModelGroup) -> ModelGroup:
        aliases = self._aliases_of.get(group.name)
        return group if aliases is None else group._replace(aliases=aliases)

    def _resolved(self, aliases: Mapping[str, Alias]) -> dict[str, ModelGroup]:
        resolved = {}
        for name, alias in aliases.items():
            if name in self._groups:
                raise InvalidValueError(f"the alias {name!r} is also a model_name: drop one of the two")
            group = self._groups.get(alias.group)
            if group is None and is_plain(alias.group):
                group = self._matched(alias.group)
            if group is None:
                raise InvalidValueError(
                    f"the alias {name!r} leads to {alias.group!r}, which is no model_name"
                )
            resolved[name] = group
        return resolved

    def _matched(self, model: str) -> ModelGroup | None:
        for wildcard in self._wildcards:
            filling = wildcard.filling(model)
            if filling is None:
                continue
            group = self._any(model) if wildcard.pattern == STAR else self._filled(wildcard, filling)
            if group is not None:
                return group
        return None

    def _filled(self, wildcard: _Wildcard, filling: str, located: Target | None = None) -> ModelGroup | None:
        deployments = [
            replace(made, target=as_listed(made.target))
            for row in wildcard.rows
            if (made := self._deployment(row, filling, located)) is not None
        ]
        if not deployments:
            return None
        name = wildcard.name(filling, deployments[0].target)
        written = self._by_lower.get(name.lower())
        return written or ModelGroup(name, tuple(deployments))

    def _deployment(self, row: Row, filling: str, located: Target | None) -> Deployment | None:
        target = located or (self._upstreams.locate(filling) if row.is_open else None)
        if row.is_open and target is None:
            return None
        try:
            return row.deployment(filling, target, self._upstreams.environ)
        except InvalidValueError:  # such as an unknown provider in front of the caller's model
            return None

    def _any(self, model: str) -> ModelGroup | None:
        """A model that only `*` matches: by the provider's name for it, there may be a closer group."""
        wildcard = self._wildcards[-1]
        first = self._deployment(wildcard.rows[0], self._within(wildcard.rows[0], model), None)
        if first is None:
            return None
        target = as_listed(first.target)
        full = f"{target.provider.id}/{target.model}"
        closer = self._by_lower.get(full.lower()) or self._closer(full)
        if closer is not None:
            return closer
        name = self._upstreams.name_of(target)
        same = self._by_lower.get(name.lower())
        if same is not None:
            if any(_is_same(each.target, target) for each in same.deployments):
                return same
            name = full.lower()
        filled = self._filled(wildcard, self._within(wildcard.rows[0], model), None)
        return filled._replace(name=name) if filled else None

    def _closer(self, full: str) -> ModelGroup | None:
        for wildcard in self._wildcards[:-1]:
            filling = wildcard.filling(full)
            if filling is not None:
                return self._filled(wildcard, filling)
        return None

    @staticmethod
    def _within(row: Row, model: str) -> str:
        """The caller's model without the provider that the row's own model names before its star."""
        before = row.model.partition(STAR)[0].lower()
        return model[len(before) :] if before and model.lower().startswith(before) else model

    def _listed(self, aliases: Mapping[str, Alias]) -> list[str]:
        names = [*self._groups, *(name for name, alias in aliases.items() if not alias.is_hidden)]
        for wildcard in self._wildcards:
            names += self._known(wildcard)
        return list(dict.fromkeys(names))

    def _known(self, wildcard: _Wildcard) -> list[str]:
        if all(row.is_open for row in wildcard.rows):
            return self._upstreams.names()
        if all(STAR not in row.model for row in wildcard.rows):
            return []
        names = []
        for row in wildcard.rows:
            provider, slash, rest = row.model.partition("/")
            for model in chat_models(provider) if slash and rest == STAR else ():
                group = self._filled(wildcard, model)
                names += [group.name] if group else []
        return names


def _providers(group: ModelGroup) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.target.provider.id for each in group.deployments))


def _is_same(one: Target, other: Target) -> bool:
    return (one.provider.id, one.model.lower()) == (other.provider.id, other.model.lower())
