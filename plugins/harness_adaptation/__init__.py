"""Adapters from T' to T, and the controls that adapt without the method."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_adapters() -> dict[str, str]:
    """Offer the adapters and the controls."""
    return {
        "activity-weight-duality": "harness_adaptation.activity_weight_duality:ActivityWeightDuality",
        "ada-bn": "harness_adaptation.ada_bn:AdaBn",
        "adversarial-training": "harness_adaptation.adversarial_training:AdversarialTraining",
        "afn": "harness_adaptation.afn:Afn",
        "bnm": "harness_adaptation.bnm:Bnm",
        "bsp": "harness_adaptation.bsp:Bsp",
        "cdan": "harness_adaptation.cdan:Cdan",
        "class-wise-coral": "harness_adaptation.class_wise_coral:ClassWiseCoral",
        "dann": "harness_adaptation.dann:Dann",
        "deep-coral": "harness_adaptation.deep_coral:DeepCoral",
        "deep-jdot": "harness_adaptation.deep_jdot:DeepJdot",
        "ema": "harness_adaptation.weight_averaging:Ema",
        "finetune": "harness_adaptation.finetune:FineTune",
        "jan": "harness_adaptation.jan:Jan",
        "joint": "harness_adaptation.joint:Joint",
        "label-smoothing": "harness_adaptation.label_smoothing:LabelSmoothing",
        "log-coral": "harness_adaptation.log_coral:LogCoral",
        "logit-variance": "harness_adaptation.logit_variance:LogitVariance",
        "mcc": "harness_adaptation.mcc:Mcc",
        "mcd": "harness_adaptation.mcd:Mcd",
        "mk-mmd": "harness_adaptation.mk_mmd:MkMmd",
        "paired": "harness_adaptation.paired:Paired",
        "pseudo-label": "harness_adaptation.pseudo_label:PseudoLabel",
        "recalibrate-bn": "harness_adaptation.recalibrate_bn:RecalibrateBatchNorm",
        "shot": "harness_adaptation.shot:Shot",
        "swa": "harness_adaptation.weight_averaging:Swa",
        "tent": "harness_adaptation.tent:Tent",
        "upweight-errors": "harness_adaptation.upweight_errors:UpweightErrors",
    }
