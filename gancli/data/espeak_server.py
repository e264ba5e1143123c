"""Server program that speaks with the eSpeak NG library, run by `gancli.data.text_to_speech`.

The library's output depends on what the process spoke before, even after a restart of the library. The noise of
breathy voices depends on the time of loading, which seeds it. So this process only loads the library and forks for
every clip. Each fork starts in the same fresh state with a fixed seed: the same text always gives the same samples.

Protocol: a request is a line of JSON on stdin, {"text": …, "voice": …, "speed": …}. An answer on stdout is two
little-endian 32-bit integers, status and number of bytes, followed by the bytes: 16-bit samples (status 0) or a message
(status 1). The first answer comes without a request and holds JSON with the rate and the library's version. The process
ends with stdin. It imports only the standard library and espeakng-loader, so that forks are small.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys

OK, FAILED = 0, 1
ANSWER = struct.Struct("<II")

# From eSpeak NG's speak_lib.h
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
_RATE = 1  # espeakRATE
_UTF8, _END_PAUSE = 1, 0x1000  # espeakCHARS_UTF8, espeakENDPAUSE
_BUFFER_MS = 1000


class _Voice(ctypes.Structure):
    """The struct espeak_VOICE, which finds a voice by its language alone, such as "en-gb"."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def answer(status: int, content: bytes) -> None:
    """Write one answer to stdout."""
    with os.fdopen(os.dup(1), "wb") as stream:
        stream.write(ANSWER.pack(status, len(content)) + content)


def load() -> tuple[ctypes.CDLL, int, str]:
    """Load and start the library. Return it with its rate in Hz and its version."""
    import espeakng_loader

    library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    data = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, _DONT_EXIT)
    if rate <= 0:
        raise OSError(f"espeak_Initialize fails ({rate}); its data are in {data.decode()}")
    library.espeak_Info.restype = ctypes.c_char_p
    return library, rate, library.espeak_Info(None).decode().split()[0]


def speak(library: ctypes.CDLL, text: str, voice: str, speed: int) -> tuple[int, bytes]:
    """Speak a text. Return the answer's status and content: 16-bit samples, or a message."""
    chunks: list[bytes] = []

    def collect(samples: ctypes._Pointer[ctypes.c_short], count: int, events: int) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    if hasattr(library, "espeak_ng_SetRandSeed"):  # since 1.52; older versions always seed with 1
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    by_language = ctypes.byref(_Voice(languages=voice.encode()))
    if library.espeak_SetVoiceByName(voice.encode()) and library.espeak_SetVoiceByProperties(by_language):
        return FAILED, f"eSpeak NG has no voice {voice!r}".encode()
    library.espeak_SetParameter(_RATE, speed, 0)
    content = text.encode()
    failed = library.espeak_Synth(
        content, ctypes.c_size_t(len(content) + 1), 0, 0, 0, _UTF8 | _END_PAUSE, None, None
    )
    if failed or library.espeak_Synchronize():
        return FAILED, f"eSpeak NG cannot speak {text[:60]!r}".encode()
    return OK, b"".join(chunks)


def serve() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent closes stdin
    try:
        library, rate, version = load()
    except (ImportError, OSError, AttributeError) as error:
        answer(FAILED, str(error).encode())
        return
    answer(OK, json.dumps({"rate": rate, "version": version}).encode())
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            try:
                answer(*speak(library, **json.loads(line)))
                os._exit(0)
            finally:
                os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            answer(FAILED, b"eSpeak NG crashed")


if __name__ == "__main__":
    serve()
