package main

import (
	"context"
	"math"
	"testing"
)

func TestMeasure(t *testing.T) {
	length, err := measure(context.Background(), Trip{Points: [][2]float64{{52.52, 13.405}, {48.857, 2.352}, {51.507, -0.128}}})
	if err != nil || length.Legs != 2 || math.Abs(length.Kilometres-1222) > 3 {
		t.Fatal(length, err)
	}
	if _, err := measure(context.Background(), Trip{}); err == nil {
		t.Fatal("a trip without points has no length")
	}
}
