"""A film is the file that was named: no other file is read, no network, and no code, whatever it says."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from tests.jobs.video.films import FIXTURES
from tests.media.video import clips
from xlsr_cli.cli.app import main
from xlsr_cli.errors import InputError
from xlsr_cli.media.video.demux import is_film, open_video
from xlsr_cli.media.video.inspect import inspect

#: Files that name other files: ``{other}`` lies beside them, ``{url}`` is a server that counts visits.
LISTS = {
    "list.ffconcat": "ffconcat version 1.0\nfile '{other}'\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n",
    "net.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}a.ts\n#EXT-X-ENDLIST\n",
    "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>{url}</BaseURL><SegmentList><SegmentURL media="{other}"/></SegmentList>'
    "</Representation></AdaptationSet></Period></MPD>",
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "a.asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "a.ism": '<SmoothStreamingMedia><StreamIndex Url="{url}"/></SmoothStreamingMedia>',
    "a.rtsp": "{url}",
    "a.avs": 'DirectShowSource("{other}")\n',
    "a.vpy": "import os\nos.abort()\n",
}


@pytest.fixture
def server() -> object:
    """A port of this machine that nobody must come to; its visits."""
    visits: list[object] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            try:
                visits.append(listener.accept()[1])
            except TimeoutError:
                continue

    thread = threading.Thread(target=listen)
    thread.start()
    yield listener.getsockname()[1], visits
    over.set()
    thread.join()
    listener.close()


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[int, list[object]], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    port, visits = server
    clips.make(tmp_path / "other.ts", frames=3)
    text = LISTS[name].format(other="other.ts", url=f"http://127.0.0.1:{port}/", port=port)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=name), open_video(tmp_path / name):
        pass
    assert not is_film(tmp_path / name)
    assert main(["upscale", name, "o.mkv"]) == 3
    assert visits == []
    assert not (tmp_path / "o.mkv").exists()


@pytest.mark.parametrize(
    "name", ["v%d.mkv", "v%03d.ts", "v*.mp4", "concat:a|b.mkv", "file:x.mkv", "http:x.mp4", "-i.mkv"]
)
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """FFmpeg takes patterns and protocols in names; the film's content is what counts."""
    monkeypatch.chdir(tmp_path)
    plain = clips.make(tmp_path / f"plain{Path(name).suffix}", frames=3)
    clips.make(tmp_path / f"v1{Path(name).suffix}", frames=7)
    plain.rename(tmp_path / name)
    assert inspect(tmp_path / name).packets == 3
    assert main(["upscale", f"./{name}", "o.mkv"]) == 0
    assert len(clips.frames(Path("o.mkv"))) == 3


def test_a_film_named_as_numbered_pictures(tmp_path: Path) -> None:
    clips.make(tmp_path / "a.mkv", frames=3).rename(tmp_path / "v%d.png")
    (tmp_path / "v1.png").write_bytes(b"no picture")
    assert inspect(tmp_path / "v%d.png").packets == 3
    assert main(["upscale", str(tmp_path / "v%d.png"), str(tmp_path / "o.mkv")]) == 0


def test_a_film_that_says_to_be_millions_of_pixels_wide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upscale", str(FIXTURES / "y4m_wide.y4m"), str(tmp_path / "o.y4m")]) == 3
    said = capsys.readouterr().err
    assert "--max-pixels" in said
    assert "y4m_wide.y4m" in said
    assert not (tmp_path / "o.y4m").exists()
