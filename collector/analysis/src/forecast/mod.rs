//! Forecasts with intervals, trends, and time to exhaustion.
