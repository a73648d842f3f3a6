"""A new directory is there whole or not at all."""

from pathlib import Path

import pytest

from lqsep.core.errors import CheckpointError
from lqsep.core.files.new_directory import new_directory


@pytest.mark.parametrize("name", ["new", "empty", "deep/er/new"])
def test_it_appears_when_it_is_filled(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    target = tmp_path / name
    with new_directory(target) as directory:
        assert directory.parent.parent == target.parent and directory.name == target.name
        (directory / "file").write_text("content")
        assert not (target / "file").exists()
    assert (target / "file").read_text() == "content"
    assert [path.name for path in target.parent.glob(".*")] == []


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_directory(tmp_path / "new") as directory:
        (directory / "file").write_text("content")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for name, message in (("full", "already holds files"), ("file", "is not a directory")):
        with pytest.raises(CheckpointError, match=message), new_directory(tmp_path / name):
            pytest.fail("nothing may be written")
    with pytest.raises(CheckpointError, match="cannot make"), new_directory(tmp_path / "file/new"):
        pytest.fail("nothing may be written")
    assert (tmp_path / "full" / "mine").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot make"):
        with new_directory(tmp_path / "new") as directory:
            (directory / "file").write_text("content")
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "theirs").write_text("kept")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["theirs"]


def test_any_name_may_be_that_of_a_directory(tmp_path: Path) -> None:
    with new_directory(tmp_path / "owner") as made:
        (made / "file").write_text("new")
    assert (tmp_path / "owner" / "file").read_text() == "new"
