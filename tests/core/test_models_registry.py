"""Published files and model folders: a server that fails in every way, and nothing is ever lost."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from dataclasses import dataclass, field, replace

import open_clip
import open_clip.constants
import pytest

from ovsam_core.errors import DownloadError, ModelError
from ovsam_core.models import CATALOGUE, PublishedFile, download, installed, models_folder, published, resolve, verify

CONTENT = bytes(range(256)) * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does; each test sets what it needs."""

    content: bytes = CONTENT
    break_after: list[int] = field(default_factory=list)  # bytes to send before the connection drops, one a request
    claim_size: int | None = None
    status: int = 200
    ranges: bool = True
    linked_etag: str = ""
    redirect: bool = False
    etag: str = '"v1"'
    requests: list[tuple[str, str]] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        b: Behaviour = self.server.behaviour
        wanted = self.headers.get("Range", "")
        b.requests.append((self.path, wanted))
        if b.redirect and not self.path.startswith("/cdn/"):
            self.send_response(302)
            self.send_header("Location", f"/cdn{self.path}")
            self.send_header("X-Linked-Etag", f'"{b.linked_etag}"')
            self.send_header("X-Linked-Size", str(len(b.content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if b.status != 200:
            self.send_error(b.status)
            return
        start = 0
        if wanted and b.ranges and self.headers.get("If-Range", b.etag) == b.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start and start >= len(b.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(b.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b.content[start:]
        self.send_response(206 if start else 200)
        total = b.claim_size or len(b.content)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.send_header("ETag", b.etag)
        self.end_headers()
        cut = b.break_after.pop(0) if b.break_after else None
        self.wfile.write(body[: (total - start) if cut is None else cut])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.behaviour = Behaviour()
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OVSAM_MIRROR", f"http://127.0.0.1:{service.server_port}/mirror/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield service.behaviour
    service.shutdown()
    service.server_close()
    thread.join()


FILE = PublishedFile("weights.pth", "for tests", "MIT", "http://nowhere.invalid/weights.pth", sha256=SHA)


def fetch(folder, file=FILE, **options):
    return download(file, folder=folder, pause_s=0.0, **options)


def test_downloads_checks_and_leaves_a_receipt(tmp_path, server):
    seen = []
    path = fetch(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    receipt = json.loads((tmp_path / "weights.pth.json").read_text())
    assert receipt["sha256"] == SHA
    assert receipt["checked_against"] == "published"
    assert server.requests == [("/mirror/weights.pth", "")]
    assert fetch(tmp_path) == path  # there already: no second request
    assert len(server.requests) == 1
    assert {p.name for p in tmp_path.iterdir()} <= {"weights.pth", "weights.pth.json", "weights.pth.lock"}


def test_goes_on_where_the_connection_broke(tmp_path, server):
    server.break_after = [1000, 5000]
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == ["", "bytes=1000-", "bytes=6000-"]


def test_goes_on_in_a_later_call(tmp_path, server):
    server.break_after = [1000, 0]
    with pytest.raises(DownloadError, match=r"1000 bytes are kept in .*weights\.pth\.part"):
        fetch(tmp_path, attempts=1)
    assert (tmp_path / "weights.pth.part").stat().st_size == 1000
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=1000-"


def test_starts_again_when_the_file_on_the_server_changed(tmp_path, server):
    server.break_after = [1000, 0]
    with pytest.raises(DownloadError):
        fetch(tmp_path, attempts=1)
    server.etag = '"v2"'
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_starts_again_with_a_server_that_knows_no_ranges(tmp_path, server):
    server.ranges = False
    server.break_after = [1000]
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_a_whole_part_is_only_checked(tmp_path, server):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_longer_than_the_file_starts_again(tmp_path, server):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT + b"more")
    assert fetch(tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_announces_too_much_leaves_the_part(tmp_path, server, known):
    server.claim_size = len(CONTENT) + 500
    server.break_after = [len(CONTENT)] * 9
    file = FILE if known else replace(FILE, sha256=None)
    if known:  # the resumed request learns the true size, and the hash is right
        assert fetch(tmp_path, file).read_bytes() == CONTENT
        return
    path = fetch(tmp_path, file)
    assert json.loads((tmp_path / f"{path.name}.json").read_text())["checked_against"] == ""


def test_a_server_that_announces_too_little_is_found_out(tmp_path, server):
    server.claim_size = 700
    with pytest.raises(DownloadError, match="sha256"):
        fetch(tmp_path)
    assert (tmp_path / "weights.pth.rejected").read_bytes() == CONTENT[:700]
    assert not (tmp_path / "weights.pth").exists()


@pytest.mark.parametrize("changes", [{"size": len(CONTENT) + 1}, {"tensor_bytes": len(CONTENT) + 1}])
def test_another_size_than_published_stops_before_the_download(tmp_path, server, changes):
    with pytest.raises(DownloadError, match="bytes"):
        fetch(tmp_path, replace(FILE, sha256=None, **changes))
    assert not (tmp_path / "weights.pth").exists()


def test_a_wrong_hash_is_kept_aside_each_time(tmp_path, server):
    server.content = b"<html>please log in</html>"
    for _ in range(2):
        with pytest.raises(DownloadError, match=r"rejected.*proxy"):
            fetch(tmp_path)
    aside = sorted(p.name for p in tmp_path.glob("*.rejected*"))
    assert aside == ["weights.pth.rejected", "weights.pth.rejected-2"]
    server.content = CONTENT
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_the_hash_of_a_redirect_counts(tmp_path, server):
    server.redirect, server.linked_etag = True, SHA
    fetch(tmp_path, replace(FILE, sha256=None))
    assert json.loads((tmp_path / "weights.pth.json").read_text())["checked_against"] == "server"
    server.linked_etag = "0" * 64
    other = replace(FILE, sha256=None, name="other.pth")
    with pytest.raises(DownloadError, match="the server announced 0000"):
        fetch(tmp_path, other)


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 3)])
def test_refusals_are_told_with_a_way_out(tmp_path, server, status, requests):
    server.status = status
    with pytest.raises(DownloadError, match=rf"HTTP {status}.*OVSAM_MIRROR.*weights\.pth"):
        fetch(tmp_path, attempts=3)
    assert len(server.requests) == requests


def test_offline_is_told_with_a_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("OVSAM_MIRROR", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9 .*without network fetch"):
        fetch(tmp_path, attempts=2)


def test_only_web_addresses_are_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("OVSAM_MIRROR", "file:///etc")
    with pytest.raises(DownloadError, match="only http"):
        fetch(tmp_path)


def test_a_licence_comes_before_the_first_byte(tmp_path, server):
    file = replace(FILE, non_commercial=True, licence="Own Licence")
    with pytest.raises(DownloadError, match=r"Own Licence.*--accept-licence"):
        fetch(tmp_path, file)
    assert not server.requests
    assert fetch(tmp_path, file, accept_licence=True).exists()


def test_verify_notices_every_change_and_deletes_nothing(tmp_path, server):
    with pytest.raises(DownloadError, match="not downloaded yet"):
        verify(FILE, folder=tmp_path)
    path = fetch(tmp_path, replace(FILE, sha256=None))
    assert verify(FILE, folder=tmp_path).sha256 == SHA
    changed = CONTENT[:-1] + b"x"
    path.write_bytes(changed)
    for file in (FILE, replace(FILE, sha256=None)):  # without a published hash the receipt tells
        with pytest.raises(DownloadError, match="nothing was deleted"):
            verify(file, folder=tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match="were downloaded"):
        verify(FILE, folder=tmp_path)
    assert path.exists()


def test_a_file_put_there_by_hand_gets_its_receipt(tmp_path):
    (tmp_path / "weights.pth").write_bytes(CONTENT)
    assert verify(FILE, folder=tmp_path).checked_against == "published"
    assert (tmp_path / "weights.pth.json").exists()


def test_addresses_follow_the_mirrors(monkeypatch):
    file = published("clip2sam_coco_rn50x16.pth")
    assert file.url() == "https://huggingface.co/HarborYuan/ovsam_models/resolve/main/clip2sam_coco_rn50x16.pth"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert file.url().startswith("https://mirror.example/HarborYuan/")
    monkeypatch.setenv("OVSAM_MIRROR", "https://other.example/x")
    assert file.url() == "https://other.example/x/clip2sam_coco_rn50x16.pth"


def test_the_catalogue_says_what_the_weights_are():
    assert [f.name for f in CATALOGUE if f.non_commercial] == [f.name for f in CATALOGUE if "HarborYuan" in f.source]
    assert all(f.licence and f.about for f in CATALOGUE)
    clip = published("clip_rn50x16_openai.safetensors")
    config = open_clip.get_pretrained_cfg("RN50x16", "openai")
    assert config["hf_hub"].rstrip("/") in clip.url()
    assert open_clip.constants.HF_SAFE_WEIGHTS_NAME in clip.url()
    with pytest.raises(DownloadError, match="sam_vit_h"):
        published("sam_vit_h.pth")


def make_model(path, **config):
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"architecture": "x", "licence": "MIT", **config}))
    (path / "model.safetensors").write_bytes(b"12345")


def test_installed_lists_sound_and_broken_models():
    make_model(models_folder() / "good")
    make_model(models_folder() / "broken")
    (models_folder() / "broken" / "config.json").write_text("{")
    make_model(models_folder() / "empty")
    (models_folder() / "empty" / "model.safetensors").unlink()
    (models_folder() / "downloads").mkdir()
    found = {entry.id: entry for entry in installed()}
    assert {"good", "broken", "empty"} <= found.keys()
    assert "downloads" not in found
    assert found["good"].licence == "MIT"
    assert not found["good"].problem
    assert "config.json" in found["broken"].problem
    assert "model.safetensors" in found["empty"].problem
    assert resolve("good") == models_folder() / "good"
    for name in ("broken", "empty"):
        with pytest.raises(ModelError, match=name):
            resolve(name)


def test_resolve_takes_paths_and_helps_with_typing_errors(tmp_path):
    make_model(tmp_path / "mine")
    assert resolve(tmp_path / "mine") == tmp_path / "mine"
    assert resolve(str(tmp_path / "mine")) == tmp_path / "mine"
    make_model(models_folder() / "ovsam-birds")
    with pytest.raises(ModelError, match="did you mean ovsam-birds"):
        resolve("ovsam-bird")
    with pytest.raises(ModelError, match="not a model directory"):
        resolve(tmp_path / "nothing")
    with pytest.raises(ModelError, match="name or a path"):
        resolve("")
