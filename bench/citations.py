"""How often `antiphon.citations` is right: sentences written by hand, each with the passages that support it.

    python bench/citations.py [--wrong]

Some topics were used to write the rules and set the thresholds (`tuning`); the others (`held out`) were written after
that, and no rule was changed for them. A sentence counts once for each passage that is cited or should be. Kinds:
`copied` has the passage's words, `paraphrase` others in part, `joined` has two facts of one passage, `marked` carries
markers (some of them wrong), `number`, `name`, `negated` and `antonym` contradict a passage, `related` is about the same
and stands nowhere, `unrelated` is about something else, `talk` says nothing that needs a source.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from antiphon import wire
from antiphon.citations import cite
from antiphon.ports import Passage

Case = tuple[str, str, set[int]]  # kind, sentence, numbers of the passages that support it
Topic = tuple[str, Sequence[tuple[str, str]], Sequence[Case]]

TUNING: list[Topic] = [
    (
        "tower",
        [
            (
                "Eiffel Tower",
                "The Eiffel Tower is a wrought-iron lattice tower on the Champ de Mars in Paris, France. It is named "
                "after the engineer Gustave Eiffel, whose company designed and built the tower from 1887 to 1889. "
                "The tower is 330 metres tall, about the same height as an 81-storey building. It was the first "
                "structure in the world to surpass both the 200-metre and 300-metre mark in height.",
            ),
            (
                "Visitors in 2023",
                "Some 6.3 million people visited the monument in 2023. An adult ticket to the top costs 29.40 euros. "
                "The monument is repainted every seven years, which takes about 60 tonnes of paint.",
            ),
            (
                "Tokyo Tower",
                "Tokyo Tower is a communications and observation tower in Minato, Tokyo. At 332.9 metres, it was the "
                "tallest tower in Japan until 2012. It was built in 1958 and is painted white and international "
                "orange.",
            ),
        ],
        [
            ("copied", "The Eiffel Tower is 330 metres tall.", {1}),
            ("copied", "The tower is named after the engineer Gustave Eiffel.", {1}),
            ("paraphrase", "It was built between 1887 and 1889 by the company of Gustave Eiffel.", {1}),
            ("paraphrase", "It takes about 60 tonnes of paint to repaint the monument every seven years.", {2}),
            ("paraphrase", "In 2023 about 6.3 million people came to visit the monument.", {2}),
            ("joined", "Tokyo Tower, built in 1958, is 332.9 metres high.", {3}),
            ("number", "The Eiffel Tower is 324 metres tall.", set()),
            ("number", "Some 7.3 million people visited the monument in 2023.", set()),
            ("number", "The monument is repainted every nine years.", set()),
            ("name", "The Eiffel Tower is named after the engineer Thomas Edison.", set()),
            ("name", "Osaka Tower is a communications and observation tower in Minato, Tokyo.", set()),
            ("negated", "The Eiffel Tower is not named after the engineer Gustave Eiffel.", set()),
            ("related", "The Eiffel Tower is lit every evening by thousands of golden lamps.", set()),
            ("related", "Many French artists protested against the tower when it was planned.", set()),
            ("unrelated", "Photosynthesis turns carbon dioxide and water into sugar.", set()),
            ("talk", "Here is what I found for you.", set()),
            ("talk", "Would you like to know more about the tower in Paris?", set()),
            ("marked", "The tower is 330 metres tall [1].", {1}),
            ("marked", "An adult ticket to the top costs 29.40 euros (source 2).", {2}),
            ("marked", "The tower is 330 metres tall [3].", {1}),
            ("marked", "The tower was sold twice by a famous swindler [3].", set()),
            ("marked", "Cheese from Gruyère is aged in caves [2].", set()),
        ],
    ),
    (
        "bees",
        [
            (
                "Honey bee",
                "A western honey bee colony has a single queen, seasonally up to several thousand drones, and tens of "
                "thousands of workers. The queen can lay up to 1,500 eggs a day. Workers live about six weeks in "
                "summer. Karl von Frisch decoded the waggle dance, for which he received the Nobel Prize in 1973.",
            ),
            (
                "Pollination",
                "Bees pollinate about a third of the crops that people eat. Farmers rent hives in spring for the bloom "
                "of almond trees in California. Bumblebees fly at lower temperatures than honey bees do.",
            ),
        ],
        [
            ("copied", "The queen can lay up to 1,500 eggs a day.", {1}),
            ("paraphrase", "A queen lays as many as 1500 eggs in one day.", {1}),
            ("paraphrase", "In summer, a worker lives for about six weeks.", {1}),
            ("paraphrase", "Karl von Frisch won the Nobel Prize in 1973 because he decoded the dance.", {1}),
            ("copied", "Bumblebees fly at lower temperatures than honey bees.", {2}),
            ("paraphrase", "About a third of the crops people eat are pollinated by bees.", {2}),
            ("paraphrase", "In California, farmers rent hives when the almond trees bloom in spring.", {2}),
            ("number", "The queen can lay up to 2,500 eggs a day.", set()),
            ("number", "Karl von Frisch received the Nobel Prize in 1937.", set()),
            ("name", "Konrad Lorenz decoded the waggle dance.", set()),
            ("negated", "Bees do not pollinate the crops that people eat.", set()),
            ("antonym", "Bumblebees fly at higher temperatures than honey bees do.", set()),
            ("related", "Honey bees store honey in wax combs to survive the winter.", set()),
            ("related", "A colony may swarm in May when it grows too large.", set()),
            ("unrelated", "The stock exchange closed lower on Friday.", set()),
            ("talk", "I hope this helps!", set()),
            ("marked", "According to [1], a colony has a single queen.", {1}),
            ("marked", "Workers live six weeks in summer [1], and farmers rent hives in spring [2].", {1, 2}),
            ("marked", "The queen lays 2,500 eggs a day [1].", set()),
        ],
    ),
    (
        "other languages",
        [
            (
                "Brandenburger Tor",
                "Das Brandenburger Tor in Berlin ist ein frühklassizistisches Triumphtor an der Westseite des Pariser "
                "Platzes. Es wurde in den Jahren 1789 bis 1793 auf Anweisung des Königs Friedrich Wilhelm II. von Carl "
                "Gotthard Langhans errichtet. Das Tor ist 26 Meter hoch.",
            ),
            (
                "富士山",
                "富士山は静岡県と山梨県に跨る活火山である。標高は3776メートルで、日本最高峰である。最後の噴火は1707年の宝永噴火である。",
            ),
            (
                "Le Louvre",
                "Le musée du Louvre est le musée le plus visité au monde. Il conserve près de 500 000 œuvres, dont la "
                "Joconde de Léonard de Vinci. Le musée est fermé le mardi.",
            ),
        ],
        [
            ("copied", "Das Brandenburger Tor ist 26 Meter hoch.", {1}),
            ("paraphrase", "Carl Gotthard Langhans errichtete das Tor in den Jahren 1789 bis 1793.", {1}),
            ("number", "Das Brandenburger Tor ist 36 Meter hoch.", set()),
            ("related", "Auf dem Brandenburger Tor steht eine Quadriga von Schadow.", set()),
            ("negated", "Das Brandenburger Tor ist nicht 26 Meter hoch.", set()),
            ("copied", "富士山の標高は3776メートルです。", {2}),
            ("paraphrase", "富士山の最後の噴火は1707年でした。", {2}),
            ("number", "富士山の標高は2776メートルです。", set()),
            ("related", "富士山には毎年多くの登山者が訪れます。", set()),
            ("copied", "Le musée du Louvre est fermé le mardi.", {3}),
            ("paraphrase", "Le Louvre conserve environ 500 000 œuvres, dont la Joconde.", {3}),
            ("negated", "Le musée du Louvre n'est pas fermé le mardi.", set()),
            ("related", "Le musée du Louvre a été un palais des rois de France.", set()),
        ],
    ),
    (
        "city",
        [
            (
                "Lisbon",
                "Lisbon is the capital and largest city of Portugal, with an estimated population of 567,131 within "
                "its administrative limits. It lies in the western portion of the Iberian Peninsula, on the northern "
                "shore of the River Tagus. The earthquake of 1 November 1755 destroyed most of the city.",
            ),
            (
                "Metro of Lisbon",
                "The Lisbon Metro opened in December 1959. It has four lines and 56 stations over 44.5 kilometres. "
                "A single ticket costs 1.85 euros.",
            ),
            (
                "Porto",
                "Porto is the second largest city in Portugal, after Lisbon. The city gave its name to port wine, "
                "which is shipped from Vila Nova de Gaia. Its metro opened in 2002 and has 85 stations.",
            ),
        ],
        [
            ("copied", "Lisbon is the capital and largest city of Portugal.", {1}),
            ("paraphrase", "The city of Lisbon lies on the northern shore of the Tagus.", {1}),
            ("paraphrase", "Most of Lisbon was destroyed by the earthquake of 1755.", {1}),
            ("copied", "The Lisbon Metro opened in December 1959.", {2}),
            ("paraphrase", "With 56 stations on four lines, the metro covers 44.5 kilometres.", {2}),
            ("joined", "The metro of Lisbon opened in 1959 and has 56 stations.", {2}),
            ("paraphrase", "Port wine takes its name from the city of Porto.", {3}),
            ("number", "The Lisbon Metro opened in December 1995.", set()),
            ("number", "The metro of Lisbon has 85 stations.", set()),
            ("name", "Madrid is the capital and largest city of Portugal.", set()),
            ("name", "Lisbon is the second largest city in Portugal.", set()),
            ("negated", "Lisbon is not the capital of Portugal.", set()),
            ("antonym", "Lisbon lies on the southern shore of the River Tagus.", set()),
            ("related", "Lisbon is famous for its yellow trams and steep hills.", set()),
            ("related", "The metro of Lisbon is closed at night.", set()),
            ("unrelated", "A binary search needs a sorted list.", set()),
            ("talk", "Let me know if you need directions.", set()),
            ("marked", "A single metro ticket costs 1.85 euros [2].", {2}),
            ("marked", "Lisbon is the capital of Portugal [1][3].", {1, 3}),
            ("marked", "Lisbon has 567,131 inhabitants [3].", set()),
            ("marked", "Porto's metro opened in 2002 [2], and it has 85 stations [3].", {3}),
            ("marked", "The mayor was elected in a landslide [7].", set()),
        ],
    ),
    (
        "software",
        [
            (
                "PEP 654",
                "Python 3.11 was released on October 24, 2022. It added exception groups and the except* syntax. "
                "CPython 3.11 is on average 25% faster than CPython 3.10. The minimum supported version of OpenSSL is "
                "now 1.1.1.",
            ),
            (
                "Release cycle",
                "Each feature release of Python is supported for five years after its first release. During the first "
                "two years, bug fixes are accepted; after that only security fixes. The release manager is Pablo "
                "Galindo Salgado.",
            ),
        ],
        [
            ("copied", "Python 3.11 was released on October 24, 2022.", {1}),
            ("copied", "It added exception groups and the `except*` syntax.", {1}),
            ("paraphrase", "On average, CPython 3.11 runs 25% faster than CPython 3.10.", {1}),
            ("paraphrase", "Feature releases of Python get five years of support after the first release.", {2}),
            ("paraphrase", "After two years only security fixes are accepted.", {2}),
            ("copied", "- The release manager is Pablo Galindo Salgado.", {2}),
            ("number", "Python 3.12 was released on October 24, 2022.", set()),
            ("number", "CPython 3.11 is on average 60% faster than CPython 3.10.", set()),
            ("name", "The release manager is Guido van Rossum.", set()),
            ("negated", "Security fixes are never accepted after the first two years.", set()),
            ("antonym", "CPython 3.11 is on average 25% slower than CPython 3.10.", set()),
            ("related", "Python 3.11 can be installed from the official website.", set()),
            ("related", "Python is supported on Linux, Windows and macOS.", set()),
            ("unrelated", "Sourdough bread needs a long fermentation.", set()),
            ("talk", "In short, it depends on what you need.", set()),
            ("marked", "It is about 25% faster [1].", {1}),
            ("marked", "| Support | five years [2] |", {2}),
            ("marked", "It brings a new just-in-time compiler [1].", set()),
        ],
    ),
    (
        "more languages",
        [
            (
                "Río Amazonas",
                "El río Amazonas es un río de América del Sur que atraviesa Perú, Colombia y Brasil. Es el río más "
                "caudaloso del mundo. Tiene una longitud de 6 400 kilómetros. Su cuenca es la mayor del planeta, con "
                "más de 7 millones de kilómetros cuadrados.",
            ),
            (
                "长城",
                "长城是中国古代的军事防御工程。明长城总长度为8851.8公里。长城于1987年被联合国教科文组织列入世界遗产。",
            ),
            (
                "Байкал",
                "Байкал — озеро тектонического происхождения в южной части Восточной Сибири, самое глубокое озеро на "
                "планете. Наибольшая глубина озера — 1642 метра. В озере обитает байкальская нерпа.",
            ),
        ],
        [
            ("copied", "El río Amazonas atraviesa Perú, Colombia y Brasil.", {1}),
            ("paraphrase", "La longitud del río Amazonas es de 6400 kilómetros.", {1}),
            ("number", "Tiene una longitud de 4 600 kilómetros.", set()),
            ("name", "El río Amazonas atraviesa Perú, Bolivia y Chile.", set()),
            ("related", "En el río Amazonas viven delfines rosados y pirañas.", set()),
            ("copied", "明长城的总长度为8851.8公里。", {2}),
            ("paraphrase", "1987年，长城被联合国教科文组织列入世界遗产名录。", {2}),
            ("number", "长城于1978年被列入世界遗产。", set()),
            ("related", "每年有上千万游客参观八达岭长城。", set()),
            ("copied", "Байкал — самое глубокое озеро на планете.", {3}),
            ("paraphrase", "Глубина озера Байкал достигает 1642 метров.", {3}),
            ("number", "Наибольшая глубина озера — 1842 метра.", set()),
            ("related", "Зимой Байкал покрывается прозрачным льдом.", set()),
            ("unrelated", "El precio del pan subió ayer.", set()),
        ],
    ),
    (
        "people",
        [
            (
                "Marie Curie",
                "Marie Curie was a Polish and naturalised-French physicist and chemist who conducted pioneering "
                "research on radioactivity. She was the first woman to win a Nobel Prize. With her husband Pierre, she "
                "discovered polonium and radium in 1898. She died in 1934 of aplastic anaemia.",
            ),
            (
                "Lise Meitner",
                "Lise Meitner was an Austrian-Swedish nuclear physicist who was instrumental in the discovery of "
                "nuclear fission. She was nominated 49 times for the Nobel Prize and never won it. Element 109, "
                "meitnerium, is named after her.",
            ),
        ],
        [
            ("copied", "Marie Curie was the first woman to win a Nobel Prize.", {1}),
            ("paraphrase", "Together with her husband Pierre she discovered radium and polonium in 1898.", {1}),
            ("paraphrase", "Curie died of aplastic anaemia in 1934.", {1}),
            ("copied", "Element 109 is named after Lise Meitner.", {2}),
            ("paraphrase", "Lise Meitner was nominated for the Nobel Prize 49 times.", {2}),
            ("name", "Lise Meitner was the first woman to win a Nobel Prize.", set()),
            ("name", "Marie Curie was nominated 49 times for the Nobel Prize.", set()),
            ("number", "She discovered polonium and radium in 1908.", set()),
            ("negated", "Lise Meitner won the Nobel Prize.", set()),
            ("related", "Marie Curie studied at the Sorbonne in Paris.", set()),
            ("related", "Both physicists worked with several assistants in their laboratories.", set()),
            ("marked", "Element 109, meitnerium, is named after her [2].", {2}),
            ("marked", "[1] She was the first woman to win a Nobel Prize.", {1}),
            ("marked", "She kept her notebooks in a lead box [1].", set()),
        ],
    ),
    (
        "whales",
        [
            (
                "Blue whale - Encyclopedia",
                "The blue whale is the largest animal known ever to have existed. Adults reach a length of 29.9 metres "
                "and weigh up to 199 tonnes. They feed almost only on krill, of which an adult eats up to 3.6 tonnes "
                "a day. Hunting nearly drove the species to extinction until it was banned in 1967.",
            ),
            (
                "Sperm whales and how they dive",
                "Sperm whales dive to 2,250 metres and can stay below for more than an hour. Males grow to 16 metres. "
                "Their clicks, at 230 decibels, are the loudest sound of any animal.",
            ),
            (
                "Whale watching in Iceland",
                "Boats leave the harbour of Húsavík three times a day between April and October. A tour lasts about "
                "three hours. Whales were seen on 98 percent of the tours last season.",
            ),
        ],
        [
            ("copied", "Adult blue whales reach a length of 29.9 metres.", {1}),
            ("paraphrase", "An adult eats as much as 3.6 tonnes of krill a day.", {1}),
            ("paraphrase", "Since 1967 the hunting of the species has been banned.", {1}),
            ("paraphrase", "Sperm whales can dive to 2250 metres.", {2}),
            ("paraphrase", "The clicks of sperm whales reach 230 decibels, louder than any other animal.", {2}),
            ("paraphrase", "From April to October, boats leave the harbour of Húsavík three times a day.", {3}),
            ("joined", "A tour takes three hours, and whales were seen on 98% of them last season.", {3}),
            ("number", "Adult blue whales reach a length of 39.9 metres.", set()),
            ("number", "Males of the sperm whale grow to 29.9 metres.", set()),
            ("number", "Boats leave the harbour of Húsavík five times a day.", set()),
            ("name", "Boats leave the harbour of Reykjavík three times a day.", set()),
            ("name", "The sperm whale is the largest animal known ever to have existed.", set()),
            ("negated", "Sperm whales cannot stay below for more than an hour.", set()),
            ("antonym", "The blue whale is the smallest animal known ever to have existed.", set()),
            ("related", "Blue whales sing songs that carry for hundreds of kilometres.", set()),
            ("related", "Whale watching is best in calm weather, so take a warm jacket.", set()),
            ("related", "An adult blue whale has a heart of the size of a small car.", set()),
            ("unrelated", "The parliament passed the budget after a long debate.", set()),
            ("talk", "That is a great question!", set()),
            ("marked", "They feed almost only on krill [1].", {1}),
            ("marked", "Blue whales feed on krill [1], whereas sperm whales dive to 2,250 metres [2].", {1, 2}),
            ("marked", "Whales were seen on 98 percent of the tours [2].", {3}),
            ("marked", "A calf drinks 200 litres of milk a day [1].", set()),
            ("marked", "Tickets can be bought online with a discount [3].", set()),
        ],
    ),
    (
        "company",
        [
            (
                "Nordwind posts record year",
                "Nordwind AG, the maker of wind turbines from Rostock, reported revenue of 4.2 billion euros for 2025, "
                "up 12 percent on the year before. Net profit rose to 310 million euros. Chief executive Anna Lindqvist "
                "said the company would build a new plant in Esbjerg, Denmark, with 800 jobs.",
            ),
            (
                "Nordwind - company profile",
                "Founded in 1996 by two engineers, Nordwind employs 11,400 people in nine countries. Its largest "
                "turbine, the N240, delivers 15 megawatts. The shares are listed in Frankfurt.",
            ),
            (
                "Rival Havgen cuts jobs",
                "Havgen of Norway will cut 600 jobs after its revenue fell 8 percent to 2.9 billion euros. Havgen's "
                "plant in Bergen stays open. Chief executive Ole Berg spoke of a difficult market.",
            ),
        ],
        [
            ("copied", "Nordwind reported revenue of 4.2 billion euros for 2025.", {1}),
            ("paraphrase", "Revenue went up by 12% compared with the year before.", {1}),
            ("paraphrase", "Nordwind's net profit rose to €310 million.", {1}),
            ("paraphrase", "A new plant with 800 jobs is to be built in Esbjerg.", {1}),
            ("copied", "Nordwind employs 11,400 people in nine countries.", {2}),
            ("paraphrase", "The company was founded by two engineers in 1996.", {2}),
            ("paraphrase", "Havgen is cutting 600 jobs.", {3}),
            ("joined", "Havgen will cut 600 jobs, but its plant in Bergen stays open.", {3}),
            ("number", "Nordwind reported revenue of 2.4 billion euros for 2025.", set()),
            ("number", "Nordwind reported revenue of 4.2 million euros for 2025.", set()),
            ("number", "Nordwind will cut 600 jobs.", set()),
            ("name", "Ole Berg is the chief executive of Nordwind.", set()),
            ("name", "Havgen will build a new plant in Esbjerg with 800 jobs.", set()),
            ("negated", "Nordwind will not build a new plant in Esbjerg.", set()),
            ("antonym", "Nordwind's revenue was down 12 percent on the year before.", set()),
            ("antonym", "Net profit fell to 310 million euros.", set()),
            ("related", "Nordwind's shares rose sharply after the announcement.", set()),
            ("related", "The company makes most of its sales in Germany and Denmark.", set()),
            ("related", "Wind turbines have become cheaper over the years.", set()),
            ("unrelated", "Add two eggs and stir until the dough is smooth.", set()),
            ("talk", "Here are the most important facts:", set()),
            ("marked", "The N240 delivers 15 megawatts [2].", {2}),
            ("marked", "As reported in [1], Anna Lindqvist is the chief executive.", {1}),
            ("marked", "Revenue was 4.2 billion euros [1,2].", {1}),
            ("marked", "Its founders sold their shares in a private deal [2].", set()),
        ],
    ),
    (
        "instructions",
        [
            (
                "journalctl(1)",
                "journalctl may be used to query the contents of the systemd journal. With -u, it shows messages for "
                "the given unit only. --vacuum-size= removes archived journal files until the disk space they use "
                "falls below the given size. The default of SystemMaxUse= is 10% of the file system, capped to 4G.",
            ),
            (
                "cron",
                "cron reads its tables from /var/spool/cron/crontabs. A line has five fields for the time: minute, "
                "hour, day of month, month, and day of week. Mails are sent to the user named in MAILTO.",
            ),
        ],
        [
            ("copied", "With `-u`, journalctl shows messages for the given unit only.", {1}),
            ("paraphrase", "By default, SystemMaxUse is 10% of the file system, but at most 4G.", {1}),
            ("paraphrase", "- `--vacuum-size=` removes archived journal files until they use less disk space.", {1}),
            (
                "paraphrase",
                "A crontab line begins with five fields: minute, hour, day of month, month, day of week.",
                {2},
            ),
            ("copied", "Mails are sent to the user who is named in MAILTO.", {2}),
            ("number", "A line has six fields for the time.", set()),
            ("number", "The default of SystemMaxUse is 15% of the file system.", set()),
            ("name", "cron reads its tables from the folder that SPOOLDIR names.", set()),
            ("negated", "Mails are never sent to the user named in MAILTO.", set()),
            ("related", "journalctl can follow new messages as they arrive.", set()),
            ("related", "cron must be restarted after its tables change.", set()),
            ("unrelated", "The museum opens at noon on Sundays.", set()),
            ("talk", "You can try this:", set()),
            ("marked", "cron mails its output to the user in MAILTO [2].", {2}),
            ("marked", "The journal is encrypted by default [1].", set()),
        ],
    ),
    (
        "yet more languages",
        [
            (
                "Der Rhein",
                "Der Rhein ist mit 1233 Kilometern einer der längsten Flüsse Europas. Er entspringt in den Schweizer "
                "Alpen und mündet bei Rotterdam in die Nordsee. Im Rhein leben wieder 63 Fischarten. Der Rheinfall bei "
                "Schaffhausen ist 23 Meter hoch.",
            ),
            (
                "한라산",
                "한라산은 제주특별자치도에 있는 화산이다. 높이는 1,947미터로 대한민국에서 가장 높다. "
                "1970년에 국립공원으로 지정되었다.",
            ),
            (
                "Il Colosseo",
                "Il Colosseo è l'anfiteatro più grande del mondo romano. La costruzione iniziò nel 72 sotto Vespasiano e "
                "fu inaugurato da Tito nell'80. Poteva contenere fino a 50 000 spettatori.",
            ),
        ],
        [
            ("copied", "Der Rhein mündet bei Rotterdam in die Nordsee.", {1}),
            ("paraphrase", "Im Rhein gibt es heute wieder 63 Fischarten.", {1}),
            ("paraphrase", "Der Rheinfall bei Schaffhausen hat eine Höhe von 23 Metern.", {1}),
            ("number", "Der Rhein ist 1320 Kilometer lang.", set()),
            ("name", "Der Rhein mündet bei Hamburg in die Nordsee.", set()),
            ("related", "Auf dem Rhein fahren jedes Jahr viele Frachtschiffe.", set()),
            ("copied", "한라산의 높이는 1,947미터로 대한민국에서 가장 높다.", {2}),
            ("paraphrase", "한라산은 1970년 국립공원으로 지정되었습니다.", {2}),
            ("number", "한라산의 높이는 2,947미터이다.", set()),
            ("related", "한라산에는 많은 등산객이 찾아온다.", set()),
            ("copied", "Il Colosseo poteva contenere fino a 50.000 spettatori.", {3}),
            ("paraphrase", "La costruzione del Colosseo iniziò sotto Vespasiano nel 72.", {3}),
            ("name", "Il Colosseo fu inaugurato da Nerone.", set()),
            ("related", "Il Colosseo è visitato ogni anno da milioni di turisti.", set()),
            ("unrelated", "Die Bahn fährt jede Stunde nach München.", set()),
        ],
    ),
]


HELD_OUT: list[Topic] = [
    (
        "volcano",
        [
            (
                "Mount Etna | Volcano guide",
                "Etna on the east coast of Sicily is the most active volcano in Europe. Its summit stood at 3,403 "
                "metres in 2024. The eruption of 1669 buried villages and reached the walls of Catania. Vineyards grow "
                "on its fertile slopes up to 1,000 metres.",
            ),
            (
                "Stromboli",
                "Stromboli, one of the Aeolian Islands, has erupted almost without a break for 2,000 years. About 400 "
                "people live on the island. Since 2019 visitors may climb to 400 metres only with a guide.",
            ),
            (
                "How volcanoes are watched",
                "Seismometers record the small earthquakes that rise before an eruption. Satellites measure the "
                "swelling of the ground to within a centimetre. Gas sensors look for sulphur dioxide.",
            ),
        ],
        [
            ("copied", "Etna is the most active volcano in Europe.", {1}),
            ("paraphrase", "In 1669 an eruption reached the walls of the city of Catania and buried villages.", {1}),
            ("paraphrase", "**Vineyards** grow on the slopes of Etna up to a height of 1,000 metres.", {1}),
            ("paraphrase", "Stromboli has been erupting for 2,000 years almost without a break.", {2}),
            ("joined", "About 400 people live on Stromboli, which belongs to the Aeolian Islands.", {2}),
            ("paraphrase", "Visitors may only climb to 400 metres with a guide since 2019.", {2}),
            ("copied", "- Seismometers record small earthquakes before an eruption", {3}),
            ("paraphrase", "Satellites can measure how the ground swells, to within a centimetre.", {3}),
            ("number", "The summit of Etna stood at 3,340 metres in 2024.", set()),
            ("number", "About 900 people live on the island of Stromboli.", set()),
            ("name", "Vesuvius is the most active volcano in Europe.", set()),
            ("name", "Stromboli lies on the east coast of Sicily.", set()),
            ("negated", "Vineyards do not grow on its slopes.", set()),
            ("antonym", "Etna on the west coast of Sicily is the most active volcano in Europe.", set()),
            ("related", "The lava of Etna usually flows slowly enough for people to get away.", set()),
            ("related", "Stromboli can be reached by ferry from Milazzo and Naples.", set()),
            ("unrelated", "The train to Bologna leaves from platform four.", set()),
            ("talk", "Below is a summary of the most important points.", set()),
            ("marked", "Gas sensors look for sulphur dioxide [3].", {3}),
            ("marked", "Etna is Europe's most active volcano [1], and about 400 people live on Stromboli [2].", {1, 2}),
            ("marked", "Etna was once worshipped as the forge of a god [1].", set()),
            ("marked", "Etna stood at 3,403 metres in 2024 [2].", {1}),
        ],
    ),
    (
        "health",
        [
            (
                "Vitamin D - fact sheet",
                "The recommended intake of vitamin D is 15 micrograms a day for adults up to 70 years, and 20 "
                "micrograms for those above. Fatty fish such as trout and salmon are among the best sources. Too much "
                "vitamin D raises calcium in the blood and can harm the kidneys.",
            ),
            (
                "Sleep and adults",
                "Adults need at least seven hours of sleep a night. In a survey of 2020, 33 percent of adults said "
                "they slept less. Caffeine stays in the body for hours: half of it is gone after about five.",
            ),
        ],
        [
            ("copied", "Fatty fish such as trout and salmon are among the best sources.", {1}),
            ("paraphrase", "Adults up to 70 years should get 15 micrograms of vitamin D a day.", {1}),
            ("paraphrase", "Too much of it can harm the kidneys, since it raises the calcium in the blood.", {1}),
            ("paraphrase", "Adults should sleep at least seven hours each night.", {2}),
            ("paraphrase", "33% of adults said in a 2020 survey that they slept less.", {2}),
            ("paraphrase", "After about five hours, half of the caffeine is gone from the body.", {2}),
            ("number", "Adults up to 70 years should get 25 micrograms of vitamin D a day.", set()),
            ("number", "Adults need at least nine hours of sleep a night.", set()),
            ("name", "The recommended intake of vitamin C is 15 micrograms a day.", set()),
            ("negated", "Too much vitamin D does not harm the kidneys.", set()),
            ("related", "Ask your doctor before you take vitamin D supplements.", set()),
            ("related", "Sleep improves when the bedroom is dark and cool.", set()),
            ("unrelated", "The bridge was closed for repairs in March.", set()),
            ("talk", "I am not a doctor, but here is what the sources say.", set()),
            ("marked", "Trout and salmon are good sources [1].", {1}),
            ("marked", "Adults need seven hours of sleep (source 2).", {2}),
            ("marked", "Vitamin D was discovered in 1922 [1].", set()),
            ("marked", "Naps after lunch are popular in Spain [2].", set()),
        ],
    ),
    (
        "still more languages",
        [
            (
                "Elbphilharmonie",
                "Die Elbphilharmonie ist ein Konzerthaus in der HafenCity von Hamburg. Sie wurde am 11. Januar 2017 "
                "eröffnet. Das Gebäude ist 110 Meter hoch, der Große Saal hat 2100 Plätze. Die Baukosten betrugen 866 "
                "Millionen Euro.",
            ),
            (
                "東京スカイツリー",
                "東京スカイツリーは東京都墨田区にある電波塔である。高さは634メートルで、2012年5月22日に開業した。",
            ),
            (
                "Sagrada Família",
                "La Sagrada Família es una basílica de Barcelona, diseñada por Antoni Gaudí. Las obras comenzaron en "
                "1882. En 2010 el papa Benedicto XVI la consagró. Recibe unos 4,7 millones de visitantes al año.",
            ),
        ],
        [
            ("copied", "Die Elbphilharmonie wurde am 11. Januar 2017 eröffnet.", {1}),
            ("paraphrase", "Der Große Saal der Elbphilharmonie hat 2100 Plätze.", {1}),
            ("number", "Die Baukosten betrugen 77 Millionen Euro.", set()),
            ("number", "Die Baukosten betrugen 866 Milliarden Euro.", set()),
            ("related", "Die Akustik der Elbphilharmonie wird von vielen Besuchern gelobt.", set()),
            ("copied", "東京スカイツリーの高さは634メートルです。", {2}),
            ("paraphrase", "2012年5月22日に東京スカイツリーが開業しました。", {2}),
            ("number", "東京スカイツリーの高さは643メートルです。", set()),
            ("related", "東京スカイツリーの展望台からは富士山が見えます。", set()),
            ("copied", "Las obras de la Sagrada Família comenzaron en 1882.", {3}),
            ("paraphrase", "La basílica fue diseñada por Antoni Gaudí.", {3}),
            ("paraphrase", "El papa Benedicto XVI consagró la basílica en 2010.", {3}),
            ("name", "El papa Francisco la consagró en 2010.", set()),
            ("related", "Las torres de la basílica se ven desde toda la ciudad.", set()),
        ],
    ),
]


def judge(topics: Iterable[Topic], wrong: bool) -> tuple[int, int, int]:
    """Right, wrong and missed citations; prints what went wrong if asked."""
    right = false = missed = 0
    kinds: Counter[tuple[str, str]] = Counter()
    for name, pages, cases in topics:
        passages = [
            Passage(text, wire.UrlCitation(url=f"https://example.org/{number}", title=title))
            for number, (title, text) in enumerate(pages, 1)
        ]
        for kind, sentence, expected in cases:
            cited = {int(str(found.url)[-1]) for found in cite(sentence, passages)}  # type: ignore[union-attr]
            right += len(cited & expected)
            false += len(cited - expected)
            missed += len(expected - cited)
            kinds[kind, "right" if cited == expected else "wrong"] += 1
            if wrong and cited != expected:
                print(f"  {name}, {kind}: {sentence}\n    cited {sorted(cited)}, should be {sorted(expected)}")
    print(
        "  ".join(
            f"{kind} {kinds[kind, 'right']}/{kinds[kind, 'right'] + kinds[kind, 'wrong']}"
            for kind in sorted({k for k, _ in kinds})
        )
    )
    return right, false, missed


def speed() -> float:
    """Seconds of the processor for an answer of 50 kB and 200 passages of about 2,000 characters."""
    topics = [*TUNING, *HELD_OUT]
    words = " ".join(text for _, pages, _ in topics for _, text in pages if text.isascii()).split()
    passages = [
        Passage(
            " ".join(words[(7 * n + i) % len(words)] for i in range(330)), wire.UrlCitation(url=f"https://e.org/{n}")
        )
        for n in range(200)
    ]
    sentences = [case[1] for _, _, cases in topics for case in cases if case[1].isascii()]
    text = " ".join(sentences[n % len(sentences)] for n in range(2000))[:50_000]
    began = time.process_time()
    cite(text, passages)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--wrong", action="store_true", help="print each sentence that is not cited as it should be")
    wrong = parser.parse_args().wrong
    for name, topics in (("tuning", TUNING), ("held out", HELD_OUT)):
        right, false, missed = judge(topics, wrong)
        count = sum(len(cases) for *_, cases in topics)
        print(
            f"{name}: {count} sentences, precision {right / max(right + false, 1):.3f} ({false} false), "
            f"recall {right / max(right + missed, 1):.3f} ({missed} missed)"
        )
    print(f"50 kB of answer, 200 passages: {min(speed() for _ in range(3)):.3f} s")


if __name__ == "__main__":
    main()
