CREATE TABLE predictions (
    id SERIAL PRIMARY KEY,
    text TEXT NOT NULL,
    prediction VARCHAR(50),
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
