"""The book's first app (chapter 6), line by line, with its two addresses made settings."""

import os

import psycopg2
from fastapi import FastAPI
from transformers import pipeline

app = FastAPI()
classifier = pipeline("sentiment-analysis", model=os.environ["MODEL"])


@app.get("/predict")
def predict(text: str):
    try:
        result = classifier(text)[0]
        conn = psycopg2.connect(os.environ["DATABASE_URL"])
        cur = conn.cursor()
        cur.execute(
            "INSERT INTO predictions (text, prediction) VALUES (%s, %s)", (text, result["label"])
        )
        conn.commit()
        cur.close()
        conn.close()
        return {"text": text, "prediction": result["label"], "score": result["score"]}
    except Exception as e:
        return {"error": str(e)}


@app.get("/health")
def health():
    return {"status": "healthy"}
