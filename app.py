from sentiment_k8s.app import app_from_environment

app = app_from_environment()
