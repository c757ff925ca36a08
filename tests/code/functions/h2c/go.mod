module example.com/h2c

go 1.24
