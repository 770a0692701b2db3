"""Runs inside the image: uses every package once and says what it found."""

import os
import sys

import fastapi
import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from sklearn.linear_model import LinearRegression


def main() -> None:
    frame = pd.DataFrame({"x": np.arange(10.0)})
    frame["y"] = 3 * frame.x + 1
    model = LinearRegression().fit(frame[["x"]], frame.y)
    rows = pa.Table.from_pandas(frame).num_rows
    versions = {m.__name__: m.__version__ for m in (np, pd, sklearn, pa, fastapi)}
    print(os.environ["GREETING"], "from", sys.prefix, "in", os.getcwd())
    print("slope", round(float(model.coef_[0]), 6), "rows", rows)
    print("httpx", httpx.__version__, versions)


if __name__ == "__main__":
    main()
