"""A new file is there whole or not at all."""

import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from lqsep.core.errors import AudioError
from lqsep.core.files.new_file import new_file, system_words, write_text


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("old")
    return path


@pytest.mark.parametrize("name", ["file", "new", "deep/er/new"])
def test_it_appears_when_it_is_written(tmp_path: Path, old: Path, name: str) -> None:
    target = tmp_path / name
    before = target.read_text() if target.exists() else None
    with new_file(target) as part:
        part.write_text("new")
        assert part.parent.parent == target.parent and part.name == target.name
        assert (target.read_text() if target.exists() else None) == before
    assert target.read_text() == "new"
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted({old, target})


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_alone(
    tmp_path: Path, old: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error, match="of the writer"), new_file(old) as part:
        part.write_text("half")
        raise error("of the writer")
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_so_does_a_full_disk(tmp_path: Path, old: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as caught, new_file(old) as part:
            part.write_bytes(bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_the_system_is_quoted_without_the_temporary_name(old: Path) -> None:
    with pytest.raises(OSError) as caught, new_file(old / "new"):
        pytest.fail("nothing may be written")
    assert system_words(caught.value) == "File exists"
    with pytest.raises(RuntimeError) as wrapped:
        try:
            raise caught.value
        except OSError:
            raise RuntimeError("unexpected position") from None
    assert system_words(wrapped.value) == "File exists"
    assert system_words(RuntimeError("one\ntwo")) == "one"
    assert system_words(ValueError()) == "ValueError"


def test_what_is_in_the_way_stays(tmp_path: Path, old: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), new_file(tmp_path / "folder") as part:
        part.write_text("new")
    with pytest.raises(FileExistsError), new_file(old / "new"):
        pytest.fail("nothing may be written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with new_file(tmp_path / "new") as part:
            part.write_text("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_two_may_write_at_the_same_time(tmp_path: Path, old: Path) -> None:
    with new_file(old) as first, new_file(old) as second:
        first.write_text("first")
        second.write_text("second")
    assert old.read_text() == "first"
    assert list(tmp_path.iterdir()) == [old]


def test_a_text_is_written_whole_or_not_at_all(tmp_path: Path, old: Path) -> None:
    write_text(tmp_path / "a" / "page.html", "é")
    assert (tmp_path / "a" / "page.html").read_text(encoding="utf-8") == "é"
    with pytest.raises(AudioError, match=r"cannot write .*file/page\.html: File exists$"):
        write_text(old / "page.html", "x")
    # Names of files need not be UTF-8.
    write_text(tmp_path / "a" / "page.html", "\udcff")
    assert (tmp_path / "a" / "page.html").read_text(encoding="utf-8") == "\\udcff"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["page.html"]


@pytest.mark.parametrize("name", ["owner", "draft.w64"])
def test_any_name_may_be_that_of_a_file(tmp_path: Path, name: str) -> None:
    with new_file(tmp_path / name) as part:
        assert not part.exists()
        part.write_text("new")
    assert (tmp_path / name).read_text() == "new"
