"""The table of all strategies. To add one: a file in `strategies/`, and its line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TABLE = {
    "all": "strategies.all_tokens.AllTokens",
    "centerclip": "strategies.centerclip.CenterCLIP",
    "aot": "strategies.aot.AOT",
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
    "hiprune": "strategies.hiprune.HiPrune",
    "gprune": "strategies.gprune.GPrune",
    "globalcom2": "strategies.globalcom2.GlobalCom2",
    "holitom": "strategies.holitom.HoliTom",
    "holov": "strategies.holov.HoloV",
    "hot": "strategies.hot.HoT",
    "ktv": "strategies.ktv.KTV",
    "mctf": "strategies.mctf.MCTF",
    "mmr": "strategies.mmr.MMR",
    "prunevid": "strategies.prunevid.PruneVid",
    "mustdrop": "strategies.mustdrop.MustDrop",
    "random": "strategies.random_rows.RandomRows",
    "stc": "strategies.stc.STC",
    "scope": "strategies.scope.SCOPE",
    "todre": "strategies.todre.ToDRE",
    "sta": "strategies.sta.STA",
    "tokencorr": "strategies.tokencorr.TokenCorr",
    "sttm": "strategies.sttm.STTM",
    "textmonkey": "strategies.textmonkey.TextMonkey",
    "tome": "strategies.tome.ToMe",
    "turbo": "strategies.turbo.Turbo",
    "uniform": "strategies.uniform.Uniform",
    "vcast": "strategies.vcast.VCast",
    "vflowopt": "strategies.vflowopt.VFlowOpt",
    "vidcom2": "strategies.vidcom2.VidCom2",
    "visionzip": "strategies.visionzip.VisionZip",
    "vispruner": "strategies.vispruner.VisPruner",
    "zerotprune": "strategies.zerotprune.ZeroTPrune",
    "vmtc": "strategies.vmtc.VMTC",
}


def strategies() -> dict[str, type[Any]]:
    """Name -> class, in the order of the table."""
    return {name: _class(place) for name, place in _TABLE.items()}


def _class(place: str) -> type[Any]:
    module, _, name = place.rpartition(".")
    found: type[Any] = getattr(import_module(f"streamvlm.reduce.{module}"), name)
    return found
