// Names and prompt templates, checked: `samclip_edge/text/names.py`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "samclip_edge.h"

namespace samclip {

using Names = std::vector<std::string>;

// Why a text cannot be used (`fault_of`): "holds a NUL character", "is not UTF-8"; "" where it can.
std::string fault_of(std::string_view text);

// Names, stripped, in order, each once (`check_labels`). what: the argument in messages. Throws InputError.
Names check_labels(const samclip_names& labels, const std::string& what = "labels");
// `check_background`: there may be none. nullptr: "background" alone.
Names check_background(const samclip_names* background);
// A JSON list of names of a bundle (`read_names`), and its templates (`read_templates` without an option). shown: the
// path in messages.
Names read_names(std::string_view json, const std::string& shown);
Names read_templates(std::string_view text, const std::string& shown);

}  // namespace samclip
