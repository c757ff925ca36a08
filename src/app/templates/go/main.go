// A trip's length along great circles: {"points": [[latitude, longitude], …]} -> kilometres.
package main

import (
	"context"
	"errors"
	"math"

	"github.com/aws/aws-lambda-go/lambda"
)

const earth = 6371.0 // km

type Trip struct {
	Points [][2]float64 `json:"points"`
}

type Length struct {
	Kilometres float64 `json:"km"`
	Legs       int     `json:"legs"`
}

func between(a, b [2]float64) float64 {
	radians := math.Pi / 180
	north, east := (b[0]-a[0])*radians, (b[1]-a[1])*radians
	h := math.Pow(math.Sin(north/2), 2) + math.Cos(a[0]*radians)*math.Cos(b[0]*radians)*math.Pow(math.Sin(east/2), 2)
	return 2 * earth * math.Asin(math.Min(1, math.Sqrt(h)))
}

func measure(_ context.Context, trip Trip) (Length, error) {
	if len(trip.Points) < 2 {
		return Length{}, errors.New("a trip has two points or more")
	}
	length := Length{Legs: len(trip.Points) - 1}
	for i := 1; i < len(trip.Points); i++ {
		length.Kilometres += between(trip.Points[i-1], trip.Points[i])
	}
	return length, nil
}

func main() { lambda.Start(measure) }
