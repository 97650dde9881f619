"""How well and how fast this server hears its own voice: sentences spoken by Piper, written down by Whisper.

    python -m bench.hearing --write        a quarter of an hour; writes docs/performance.md
    python -m bench.hearing --sentences 10

The sentences are ours: of everyday life, news, numbers, names, questions, and technical matters. Both texts are compared
word by word, in small letters and without marks; numbers and titles as Whisper writes them count as the words that were
spoken. It is one clear voice in a silent room: recordings of people are harder.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from base64 import b64decode
from functools import partial
from pathlib import Path

from antiphon import weights, wire
from antiphon.media.hearing import Hearing
from antiphon.media.sound import Cut
from antiphon.speech.piper import Piper
from bench.report import Row, publish, rows_table
from bench.servers import Neighbours

SENTENCES = """\
The kettle was still warm when she came back into the kitchen.
We walked along the river until the path ended at an old wooden gate.
My brother repairs bicycles in a small workshop behind the station.
The children had painted the garden wall in blue and yellow.
He forgot his umbrella on the bus and got wet on the way home.
There is fresh bread on the table and some cheese in the fridge.
The neighbours are moving to the coast at the end of the summer.
Please close the window before you leave, because it may rain.
She has been learning to play the violin since she was six.
The dog slept under the table while we talked about the holidays.
The government announced new rules for the import of vegetables.
Heavy snow closed the mountain road for three days last week.
The museum will open its new wing to the public next spring.
Workers at the harbour went on strike over pay and safety.
The central bank left interest rates unchanged on Thursday.
Scientists have found a large lake beneath the ice of Greenland.
The train company apologised for the delays and offered refunds.
Voters in the north turned out in greater numbers than expected.
A fire destroyed part of the old market hall during the night.
The team won its fourth match in a row without conceding a goal.
The meeting begins at half past nine and ends before noon.
Twenty people applied for the job, and seven of them were invited.
The parcel weighs about three kilograms and costs nine euros to send.
Her grandfather was born in the spring of nineteen thirty two.
The bridge is two hundred metres long and forty metres high.
Add a spoonful of salt and two cups of flour to the water.
The temperature fell to minus five degrees during the night.
He scored eleven points in the first half and six in the second.
The library has more than eighty thousand books on four floors.
It takes about fifty minutes to drive from here to the airport.
Maria and Thomas met in Vienna and later moved to Lisbon.
Doctor Wilson will see you in the second room on the left.
Professor Harris wrote a short history of the island of Malta.
Alice asked Robert whether he had ever been to Canada.
The poet lived in Edinburgh before she returned to Dublin.
Captain Morgan sailed from Hamburg to Buenos Aires.
Peter and Susan have rented a flat near the cathedral in Milan.
The painter George Taylor is almost forgotten today.
Emma works for a publisher in Amsterdam and writes at night.
David told Helen that the concert in Berlin had been cancelled.
Could you tell me where the nearest post office is?
Why did nobody notice that the door had been left open?
How long will it take until the new part arrives?
Would you rather eat at home or go to a restaurant tonight?
Do you remember the name of the hotel where we stayed?
What would happen if the river rose by another metre?
Who is responsible for the keys to the main building?
Have you ever tried to grow tomatoes on a balcony?
When does the last ferry to the island leave?
Is there anything else that I should bring to the party?
The server writes every event to the log before it answers.
If the disk is full, the program stops and reports an error.
The battery of the laptop lasts for about eight hours.
A compiler turns the text of a program into machine code.
The engine loses power when the air filter is dirty.
Store the password in a safe place and never send it by mail.
The telescope collects light with a mirror of polished glass.
Each message is signed, so that the receiver can check who sent it.
The pump moves the water through a pipe into the upper tank.
Turn the dial to the right until the green lamp lights up.
""".strip().split("\n")

TITLES = {"dr": "doctor", "mr": "mister", "mrs": "missus", "prof": "professor", "km": "kilometres", "kg": "kilograms"}
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
ONES = [*_ONES.split(), "eighteen", "nineteen"]
_ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
ORDINALS = _ORDINALS.split()
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
RESPELT = {
    "apologized": "apologised",
    "meters": "metres",
    "meter": "metre",
    "harbor": "harbour",
    "neighbors": "neighbours",
}

ABOUT = """\
{count} English sentences of our own, spoken by Piper's voice (en_US joe, medium) and written down by Whisper base (8-bit,
beam of 5) on this machine's processor, compared word by word. It is one clear voice in silence: recordings of people are
harder. Other work took {share:.0%} of the machine; the processor's time does not know of it, the clock does.

{table}

What was heard otherwise:

"""


def words(text: str) -> list[str]:
    """The words as they are spoken: in small letters, without marks, numbers written out."""
    text = re.sub(r"(\d),(\d{3})", r"\1\2", text.lower().replace("€", " euros ").replace("-", " "))
    text = re.sub(r"\b(\d{1,2}):30\b", lambda found: f"half past {found[1]}", text)
    text = re.sub(r"\b(\d|1[0-2])(st|nd|rd|th)\b", lambda found: ORDINALS[int(found[1])], text)
    found = re.findall(r"[a-zà-ÿ']+|\d+", text)
    return [word for each in found for word in (spelt(int(each)) if each.isdigit() else [one(each)])]


def one(word: str) -> str:
    return RESPELT.get(word, TITLES.get(word, word))


def spelt(number: int) -> list[str]:
    """A number in words; one of four digits that may be a year as a year."""
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10], *([ONES[number % 10]] if number % 10 else [])]
    if 1100 <= number < 2000:
        return [*spelt(number // 100), *spelt(number % 100)]
    if number < 1000:
        return [ONES[number // 100], "hundred", *(spelt(number % 100) if number % 100 else [])]
    return [*spelt(number // 1000), "thousand", *(spelt(number % 1000) if number % 1000 else [])]


def errors(right: list[str], heard: list[str]) -> int:
    """Words that are wrong, missing or too much: the least number of changes."""
    row = list(range(len(heard) + 1))
    for at, word in enumerate(right, 1):
        before, row[0] = row[0], at
        for place, other in enumerate(heard, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1]


async def spoken(piper: Piper, sentence: str) -> bytes:
    pieces = piper(sentence, [], wire.AudioFormat(mime_type="audio/wav"))
    return b"".join([b64decode(piece.data or "") async for piece in pieces])


def resident(pid: int) -> float:
    """The most memory that a process has had, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def ticks(pid: int) -> int:
    """The processor's time that a process has taken, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def measure(sentences: list[str]) -> tuple[list[Row], list[str]]:
    piper = Piper()
    hearing = Hearing(partial(weights.fetch, weights.WHISPER))
    try:
        sounds = [await spoken(piper, sentence) for sentence in sentences]
        await piper.aclose()
        return await listened(hearing, sentences, sounds)
    finally:
        await piper.aclose()
        await hearing.aclose()


async def listened(hearing: Hearing, sentences: list[str], sounds: list[bytes]) -> tuple[list[Row], list[str]]:
    wrong = total = before = pid = 0
    seconds = spent = 0.0
    mistakes = []
    for number, (sentence, sound) in enumerate(zip(sentences, sounds, strict=True)):
        begun = time.monotonic()
        decoded = await hearing.decode(sound, Cut())
        said = [segment.text async for each in hearing.transcribe(decoded) for segment in each.segments]
        took = time.monotonic() - begun
        if number == 0:  # the process starts with it
            pid = hearing.pid or 0
            before = ticks(pid)
        else:
            seconds, spent = seconds + decoded.seconds, spent + took
        right, heard = words(sentence), words("".join(said))
        count = errors(right, heard)
        wrong, total = wrong + count, total + len(right)
        if count:
            mistakes.append(f"{sentence} | {''.join(said).strip()}")
        print(f"{took:5.1f} s of {decoded.seconds:4.1f} s, {count} wrong: {''.join(said).strip()}", flush=True)
    used = (ticks(pid) - before) / 100
    return [
        Row("word error rate", 100 * wrong / total, "%", at_most=8),
        Row("sentences without a mistake", 100 * (1 - len(mistakes) / len(sentences)), "%"),
        Row("time for a second of speech (one sentence at a time)", spent / seconds, "s"),
        Row("processor time for a second of speech", used / seconds, "s"),
        Row("memory of Whisper's process, at most", resident(pid), "MiB"),
    ], mistakes


async def long_one(sentences: list[str]) -> list[Row]:
    """All of them as one recording: what a talk costs, and where half minutes are joined."""
    piper = Piper()
    hearing = Hearing(partial(weights.fetch, weights.WHISPER))
    try:
        sound = await spoken(piper, " ".join(sentences))
        await piper.aclose()
        begun = time.monotonic()
        decoded = await hearing.decode(sound, Cut())
        said = [segment.text async for each in hearing.transcribe(decoded) for segment in each.segments]
        took = time.monotonic() - begun
        pid = hearing.pid or 0
        right, heard = words(" ".join(sentences)), words("".join(said))
        return [
            Row("word error rate, all as one recording", 100 * errors(right, heard) / len(right), "%", at_most=8),
            Row("time for a second of it", took / decoded.seconds, "s"),
            Row("processor time for a second of it", ticks(pid) / 100 / decoded.seconds, "s"),
        ]
    finally:
        await piper.aclose()
        await hearing.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=len(SENTENCES), help="how many of them")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    chosen = SENTENCES[: options.sentences]
    near = Neighbours()
    rows, mistakes = asyncio.run(measure(chosen))
    rows += asyncio.run(long_one(chosen))
    body = ABOUT.format(count=len(chosen), share=near.share(), table=rows_table(rows))
    body += "\n".join(f"- {' → '.join(line.split(' | '))}" for line in mistakes)
    print(body)
    if options.write:
        publish("hearing", "Speech read back", "python -m bench.hearing --write", body)


if __name__ == "__main__":
    main()
