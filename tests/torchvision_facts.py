"""What assets/torchvision.json has to say, asked of torchvision itself. As a script it writes the file."""

import json
from pathlib import Path

from torchvision import models

FILE = Path(__file__).parent.parent / "assets/torchvision.json"


def facts() -> dict:
    """The classes of ImageNet, and for each classifier its accuracy, its parameters, and its weights' size and address.

    The accuracy is top-1 in percent; parameters are in millions, the size is in megabytes.
    """
    networks = {}
    for name in sorted(models.list_models(module=models)):
        weights = models.get_model_weights(name).DEFAULT
        networks[name] = {
            "accuracy": weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
            "parameters": weights.meta["num_params"] / 1e6,
            "download": weights.meta["_file_size"] * 2**20 / 1e6,  # given in MiB
            "url": weights.url,
        }
    return {"classes": models.ResNet18_Weights.DEFAULT.meta["categories"], "networks": networks}


if __name__ == "__main__":
    FILE.write_text(json.dumps(facts(), indent=1) + "\n", encoding="utf-8")
