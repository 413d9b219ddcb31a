"""Image quality: distances to real images, scores of classifiers, and agreement of pairs."""

from autogas.metrics.features import EXTRACTORS, FeatureExtractor, get_extractor, metric_name
from autogas.metrics.frechet import FeatureAccumulator, FeatureStatistics, frechet_distance
from autogas.metrics.inception_score import InceptionScore, inception_score
from autogas.metrics.kernel import KernelDistance, kernel_distance
from autogas.metrics.paired import psnr, ssim
from autogas.metrics.segmentation import SegmentationScores, confusion_matrix, segmentation_scores

__all__ = [
    "EXTRACTORS",
    "FeatureAccumulator",
    "FeatureExtractor",
    "FeatureStatistics",
    "InceptionScore",
    "KernelDistance",
    "SegmentationScores",
    "confusion_matrix",
    "frechet_distance",
    "get_extractor",
    "inception_score",
    "kernel_distance",
    "metric_name",
    "psnr",
    "segmentation_scores",
    "ssim",
]
