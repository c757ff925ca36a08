// The steps, each a function on the graph of a copy of the model. recipe.cpp has their names and amounts.
#pragma once
#include "optimize/detail/quantise.h"

namespace mayfly::optimize {

[[nodiscard]] Result<void> fold(Work& work);           // fold.cpp
[[nodiscard]] Result<void> int8_dynamic(Work& work);   // int8_dynamic.cpp
[[nodiscard]] Result<void> half_weights(Work& work, int data_type);  // weights.cpp
[[nodiscard]] Result<void> int8_weights(Work& work, const Fitted& fitted = {});
[[nodiscard]] Result<void> int4_weights(Work& work);
[[nodiscard]] Result<void> prune(Work& work);          // prune.cpp
[[nodiscard]] Result<void> prune_neurons(Work& work);  // prune_units.cpp
[[nodiscard]] Result<void> prune_channels(Work& work);
[[nodiscard]] Result<void> prune_heads(Work& work);    // prune_heads.cpp
[[nodiscard]] Result<void> low_rank(Work& work);       // low_rank.cpp
[[nodiscard]] Result<void> specialise(Work& work, std::string_view dimension);  // shape.cpp

}  // namespace mayfly::optimize
