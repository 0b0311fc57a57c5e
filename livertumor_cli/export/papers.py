"""The papers of the recipes, for those that an export begins."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paper:
    """What a recipe says about where its networks come from.

    Attributes:
        title: One line for people.
        citation: Authors, title, place, year, DOI or address.
    """

    title: str
    citation: str


PAPERS = {
    "uca-net": Paper(
        "UCA-Net: liver, tumors and intrahepatic vessels",
        "H. Kuang et al., Towards Simultaneous Segmentation of Liver Tumors and Intrahepatic "
        "Vessels via Cross-Attention Mechanism, ICASSP 2023, DOI 10.1109/ICASSP49357.2023.10096351",
    ),
    "sfan": Paper(
        "SFAN: liver and tumors, slice by slice at three scales",
        "Y. Zhang et al., Semantic Feature Attention Network for Liver Tumor Segmentation in "
        "Large-scale CT database, 2019, DOI 10.48550/arXiv.1911.00282",
    ),
    "msff-unet": Paper(
        "Multi-scale feature U-Net: liver and tumors, in crops of axial slices",
        "M. Gong et al., A U-Net based multi-scale feature extraction for liver tumour "
        "segmentation in CT images, CSPS 2021, strathprints.strath.ac.uk/id/eprint/77483",
    ),
    "dpc-net": Paper(
        "DPC-Net: liver and tumors",
        "Y. Zhang et al., Decoupled Pyramid Correlation Network for Liver Tumor Segmentation from "
        "CT images, Medical Physics 49(11), 2022, DOI 10.1002/mp.15723",
    ),
    "darn": Paper(
        "DARN: liver and tumors",
        "Y. Zhang et al., DARN: Deep Attentive Refinement Network for Liver Tumor Segmentation "
        "from 3D CT volume, ICPR 2020, DOI 10.1109/ICPR48806.2021.9411976",
    ),
}
"""By the name of the recipe."""
