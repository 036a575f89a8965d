"""Write the tables of the data card anew from the swarms: python data/replication/card.py"""
import re
from pathlib import Path

import pandas as pd

from regmix.figures import markdown_table
from regmix.files import write_file
from regmix.paper import domain_title
from regmix.measures import noise_floor
from regmix.swarms import list_swarms, load_swarm

HERE = Path(__file__).parent

def tables():
    "Make the card's tables: name -> Markdown."
    made = {"swarms": list_swarms(HERE).round({"epochs": 2}).reset_index()}
    floor, spread = noise_floor(load_swarm(HERE/"noise")), load_swarm(HERE/"main_unseen").final_losses().std()
    made["noise"] = pd.DataFrame({"domain": [domain_title(d) for d in floor.index], "noise of one run": floor["sd"].to_numpy(), "low": floor["low"].to_numpy(), "high": floor["high"].to_numpy(), "quietest": floor["least"].to_numpy(), "noisiest": floor["most"].to_numpy(),
                                  "spread over the 64 unseen mixtures": spread[floor.index].to_numpy()}).round(3)
    most = {n: pd.Series(load_swarm(HERE/n).meta["largest_epochs"]) for n in list_swarms(HERE).index if not n.startswith(("code", "hundred"))}
    made["epochs"] = pd.DataFrame(most).round(2).rename(index=domain_title).rename_axis("domain").reset_index()
    return {k: markdown_table(t) for k, t in made.items()}

def filled(card):
    "Put the tables between their markers."
    for name, table in tables().items():
        card, n = re.subn(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", lambda m: m[1] + table + m[2], card, flags=re.S)
        if n != 1: raise SystemExit(f"README.md: {n} places marked {name}, there must be one")
    return card

if __name__ == "__main__": write_file(HERE/"README.md", filled((HERE/"README.md").read_text()))
