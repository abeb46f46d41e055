"""Conformance: accounts and what is kept with them, and what a change of them makes stale."""

from __future__ import annotations

from typing import Any

import pytest

from outlay.domain.accounts import MAX_DETAIL_BYTES, Account
from outlay.domain.commands import PutAccount
from outlay.domain.outcomes import Put, Reserved, Stale
from outlay.errors import InvalidValueError
from outlay.testing.conformance.base import ANN, PROJECT, Bench, a_reserve

DETAIL = {
    "max_budget": 12.5,
    "models": ["gpt", "claude"],
    "metadata": {"color": "blü", "nested": {"list": [1, None, True, {"x": -(2**63)}]}},
}


class Accounts(Bench):
    """PutAccount, the looks at accounts, and Stale."""

    def test_an_account_keeps_its_detail(self) -> None:
        account = Account(PROJECT, "key:k", ANN, "name", "blocked", DETAIL)
        assert self.do(PutAccount(account), Put).is_changed
        self.reopen()
        with self.ledger.store.read() as reader:
            assert reader.accounts(PROJECT, "key") == [account]
            assert reader.accounts_by_id(PROJECT, ["key:k", "key:none"]) == {"key:k": account}

    def test_an_account_without_a_detail_has_an_empty_one(self) -> None:
        self.put_account(ANN)
        with self.ledger.store.read() as reader:
            assert reader.accounts_by_id(PROJECT, [ANN])[ANN].detail == {}

    def test_only_another_detail_is_a_change(self) -> None:
        self.do(PutAccount(Account(PROJECT, ANN, detail={"a": 1, "b": [2]})), Put)
        with self.ledger.store.read() as reader:
            version = reader.catalogue_version()
        for same in ({"b": [2], "a": 1}, {"a": 1, "b": (2,)}):
            assert not self.do(PutAccount(Account(PROJECT, ANN, detail=same)), Put).is_changed
        with self.ledger.store.read() as reader:
            assert reader.catalogue_version() == version
        for other in ({"a": True, "b": [2]}, {"a": True, "b": [2], "c": None}, {}):
            assert self.do(PutAccount(Account(PROJECT, ANN, detail=other)), Put).is_changed
        with self.ledger.store.read() as reader:
            assert reader.catalogue_version() == version + 3

    def test_a_detail_is_what_it_was_when_it_was_put(self) -> None:
        given: dict[str, Any] = {"list": [1]}
        account = Account(PROJECT, ANN, detail=given)
        self.do(PutAccount(account))
        given["list"].append(2)
        with self.ledger.store.read() as reader:
            found: Any = reader.accounts_by_id(PROJECT, [ANN])[ANN].detail
            found["list"].append(3)
        with self.ledger.store.read() as reader:
            assert reader.accounts_by_id(PROJECT, [ANN])[ANN].detail == {"list": [1]}

    def test_a_detail_that_cannot_be_kept_is_refused_by_name(self) -> None:
        deep: list[Any] = []
        for _ in range(100):
            deep = [deep]
        endless: dict[str, Any] = {}
        endless["endless"] = endless
        wrong: list[Any] = [
            *(["a"], "text", None),
            *({"a": {1, 2}}, {"a": b"x"}, {"a": float("nan")}, {"a": float("inf")}, {"a": 2**63}),
            *({1: "a"}, {"a": {None: 1}}, {"a": "\ud800"}, {"\ud800": 1}, {"a": deep}, endless),
            {"a": "x" * (MAX_DETAIL_BYTES - 7)},
        ]
        for detail in wrong:
            with pytest.raises(InvalidValueError, match="detail"):
                self.do(PutAccount(Account(PROJECT, ANN, detail=detail)))
        self.do(PutAccount(Account(PROJECT, ANN, detail={"a": "x" * (MAX_DETAIL_BYTES - 8)})))

    def test_accounts_are_found_by_id_within_their_project(self) -> None:
        for n in range(50):
            self.put_account(f"key:{n}")
        self.put_account("key:1", project="q", name="other")
        with self.ledger.store.read() as reader:
            found = reader.accounts_by_id(PROJECT, {"key:1", "key:7", "key:999"})
            assert found == {id: Account(PROJECT, id) for id in ("key:1", "key:7")}
            assert reader.accounts_by_id(PROJECT, []) == {}

    # What is stale.

    def version(self) -> int:
        """The newest version of the catalogue."""
        with self.ledger.store.read() as reader:
            return reader.catalogue_version()

    def test_a_change_of_any_account_of_the_lineage_makes_a_reserve_stale(self) -> None:
        self.put_account("key:k", parent="team:red")
        self.put_account("team:red", parent="organization:acme")
        self.put_account(ANN)
        accounts = ("key:k", ANN)
        changes: list[tuple[str, dict[str, Any]]] = [
            ("key:k", {"parent": "team:red", "detail": {"models": ["gpt"]}}),
            ("key:k", {"parent": "team:red", "status": "blocked"}),
            ("key:k", {"parent": "team:red"}),
            ("team:red", {"parent": "organization:acme", "name": "Red"}),
            (ANN, {"detail": {"role": "user"}}),
            ("organization:acme", {}),  # it had no row before
        ]
        for n, (id, fields) in enumerate(changes):
            version = self.version()
            self.put_account(id, **fields)
            command = a_reserve(f"r{n}", accounts=accounts, catalogue_version=version)
            assert self.do(command, Stale).account == id
        self.do(a_reserve("last", accounts=accounts, catalogue_version=self.version()), Reserved)

    def test_a_parent_that_an_account_gets_and_its_later_change_make_a_reserve_stale(self) -> None:
        version = self.version()
        self.put_account(ANN, parent="team:red")
        assert self.do(a_reserve("r1", catalogue_version=version), Stale).account == ANN
        version = self.version()
        self.put_account("team:red")
        assert self.do(a_reserve("r1", catalogue_version=version), Stale).account == "team:red"

    def test_another_nodes_change_makes_a_reserve_stale_too(self) -> None:
        self.put_account("key:k", parent=ANN)
        version = self.version()
        self.do(a_reserve("r1", accounts=("key:k",), catalogue_version=version), Reserved)
        node = self.ledger
        self.reopen()
        self.put_account(ANN, status="blocked")
        self._ledger = node
        again = a_reserve("r2", accounts=("key:k",), catalogue_version=version)
        assert self.do(again, Stale).account == ANN

    def test_neither_budgets_nor_other_accounts_nor_an_equal_put_make_a_reserve_stale(self) -> None:
        self.put_account("key:k", parent=ANN, detail=DETAIL)
        version = self.version()
        self.put_budget(100)
        self.put_budget(50)
        self.put_budget(50, account="key:k", id="k")
        self.put_account("key:other", parent=ANN)
        self.put_account("key:k", project="q")
        self.put_account("key:k", parent=ANN, detail=DETAIL)
        assert self.version() > version
        self.do(a_reserve("r1", accounts=("key:k",), catalogue_version=version), Reserved)
        assert (self.counters(), self.counters("k")) == ((10, 0), (10, 0))
