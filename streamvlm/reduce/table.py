"""The table of all strategies. To add one: a file in `strategies/`, and its line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TABLE = {
    "all": "strategies.all_tokens.AllTokens",
    "aot": "strategies.aot.AOT",
    "centerclip": "strategies.centerclip.CenterCLIP",
    "compressor": "compressor.Compressor",
    "dart": "strategies.dart.DART",
    "divprune": "strategies.divprune.DivPrune",
    "dpp": "strategies.dpp.DPP",
    "dtd": "strategies.dtd.DTD",
    "duet": "strategies.duet.Duet",
    "dycoke": "strategies.dycoke.DyCoke",
    "earlytom": "strategies.earlytom.EarlyTom",
    "entropyprune": "strategies.entropyprune.EntropyPrune",
    "evit": "strategies.evit.EViT",
    "evs": "strategies.evs.EVS",
    "fastervlm": "strategies.fastervlm.FasterVLM",
    "fastvid": "strategies.fastvid.FastVID",
    "flowcut": "strategies.flowcut.FlowCut",
    "fluxmem": "strategies.fluxmem.FluxMem",
    "fopru": "strategies.fopru.FoPru",
    "globalcom2": "strategies.globalcom2.GlobalCom2",
    "gprune": "strategies.gprune.GPrune",
    "hiprune": "strategies.hiprune.HiPrune",
    "holitom": "strategies.holitom.HoliTom",
    "holov": "strategies.holov.HoloV",
    "hot": "strategies.hot.HoT",
    "ktv": "strategies.ktv.KTV",
    "mctf": "strategies.mctf.MCTF",
    "mmr": "strategies.mmr.MMR",
    "mustdrop": "strategies.mustdrop.MustDrop",
    "ppe": "strategies.ppe.PPE",
    "prunevid": "strategies.prunevid.PruneVid",
    "random": "strategies.random_rows.RandomRows",
    "scope": "strategies.scope.SCOPE",
    "sta": "strategies.sta.STA",
    "stc": "strategies.stc.STC",
    "sttm": "strategies.sttm.STTM",
    "textmonkey": "strategies.textmonkey.TextMonkey",
    "todre": "strategies.todre.ToDRE",
    "tokencorr": "strategies.tokencorr.TokenCorr",
    "tome": "strategies.tome.ToMe",
    "turbo": "strategies.turbo.Turbo",
    "uniform": "strategies.uniform.Uniform",
    "vcast": "strategies.vcast.VCast",
    "vflowopt": "strategies.vflowopt.VFlowOpt",
    "vidcom2": "strategies.vidcom2.VidCom2",
    "visionzip": "strategies.visionzip.VisionZip",
    "vispruner": "strategies.vispruner.VisPruner",
    "vmtc": "strategies.vmtc.VMTC",
    "zerotprune": "strategies.zerotprune.ZeroTPrune",
    "zoo_gradient": "strategies.zoo_gradient.ZooGradient",
}


def strategies() -> dict[str, type[Any]]:
    """Name -> class, in the order of the table."""
    return {name: _class(place) for name, place in _TABLE.items()}


def _class(place: str) -> type[Any]:
    module, _, name = place.rpartition(".")
    found: type[Any] = getattr(import_module(f"streamvlm.reduce.{module}"), name)
    return found
