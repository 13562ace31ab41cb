#include "bundle/checked_json.hpp"

#include <cmath>

namespace samclip {
namespace {

std::string counted(size_t wanted, size_t found) {
    const std::string items = wanted == 1 ? " item" : " items";
    return std::to_string(wanted) + items + " after validation, not " + std::to_string(found);
}

}  // namespace

void Field::refuse(const std::string& reason) const { throw FieldError{where_, reason}; }

std::string Field::text() const {
    if (!value_->is_string()) refuse("Input should be a valid string");
    return value_->get<std::string>();
}

int64_t Field::whole(int64_t least, int64_t most) const {
    int64_t found = 0;
    if (value_->is_boolean()) {
        found = value_->get<bool>() ? 1 : 0;
    } else if (value_->is_number_float()) {
        const double number = value_->get<double>();
        if (std::abs(number) >= 9e18) refuse("Unable to parse input string as an integer, exceeded maximum size");
        found = static_cast<int64_t>(number);
        if (static_cast<double>(found) != number) {
            refuse("Input should be a valid integer, got a number with a fractional part");
        }
    } else if (value_->is_number_unsigned()) {
        const auto number = value_->get<uint64_t>();
        if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
            refuse("Unable to parse input string as an integer, exceeded maximum size");
        }
        found = static_cast<int64_t>(number);
    } else if (value_->is_number_integer()) {
        found = value_->get<int64_t>();
    } else {
        const char* const parsed = value_->is_string() ? ", unable to parse string as an integer" : "";
        refuse(std::string("Input should be a valid integer") + parsed);
    }
    if (found > most) refuse("Input should be less than or equal to " + std::to_string(most));
    if (found < least) refuse("Input should be greater than or equal to " + std::to_string(least));
    return found;
}

int64_t Field::above_zero() const {
    const int64_t found = whole(-std::numeric_limits<int64_t>::max(), kMost);
    if (found <= 0) refuse("Input should be greater than 0");
    return found;
}

double Field::number() const {
    if (value_->is_boolean()) return value_->get<bool>() ? 1 : 0;
    if (!value_->is_number()) {
        const char* const parsed = value_->is_string() ? ", unable to parse string as a number" : "";
        refuse(std::string("Input should be a valid number") + parsed);
    }
    return value_->get<double>();
}

double Field::positive() const {
    const double found = number();
    if (!(found > 0)) refuse("Input should be greater than 0");
    return found;
}

bool Field::truth() const {
    if (value_->is_boolean()) return value_->get<bool>();
    const double found = value_->is_number() ? value_->get<double>() : -1;
    if (found != 0 && found != 1) {
        const bool read = value_->is_string() || (value_->is_number() && std::floor(found) == found);
        refuse(std::string("Input should be a valid boolean") + (read ? ", unable to interpret input" : ""));
    }
    return found == 1;
}

size_t Field::one_of(const std::vector<std::string>& choices) const {
    for (size_t i = 0; i < choices.size() && value_->is_string(); ++i) {
        if (value_->get_ref<const std::string&>() == choices[i]) return i;
    }
    std::string listed;
    for (size_t i = 0; i < choices.size(); ++i) {
        listed += (i == 0 ? "'" : i + 1 == choices.size() ? " or '" : ", '") + choices[i] + "'";
    }
    refuse("Input should be " + listed);
}

std::string Field::hash() const {
    const std::string found = text();
    if (found.size() != 64 || found.find_first_not_of("0123456789abcdef") != found.npos) {
        refuse("String should match pattern '^[0-9a-f]{64}$'");
    }
    return found;
}

std::vector<Field> Field::list(size_t least) const {
    if (!value_->is_array()) refuse("Input should be a valid tuple");
    if (value_->size() < least) {
        refuse("Tuple should have at least " + counted(least, value_->size()));
    }
    std::vector<Field> found;
    for (size_t i = 0; i < value_->size(); ++i) found.emplace_back((*value_)[i], below(std::to_string(i)));
    return found;
}

std::vector<Field> Field::list_of(size_t length) const {
    std::vector<Field> found = list();
    if (found.size() > length) {
        refuse("Tuple should have at most " + counted(length, found.size()));
    }
    if (found.size() < length) Field(*value_, below(std::to_string(found.size()))).refuse("Field required");
    return found;
}

std::vector<Field> Field::entries() const {
    if (!value_->is_object()) refuse("Input should be a valid dictionary");
    std::vector<Field> found;
    for (const auto& [key, value] : value_->items()) found.emplace_back(value, below(key));
    return found;
}

Field Field::at(const std::string& key) const { return {value_->at(key), below(key)}; }

Record::Record(const Field& field, const char* model) : field_(field) {
    if (!field.json().is_object()) {
        field.refuse(std::string("Input should be a valid dictionary or instance of ") + model);
    }
}

Field Record::required(const std::string& key) {
    std::optional<Field> found = given(key);
    if (!found) throw FieldError{field_.below(key), "Field required"};
    return *found;
}

std::optional<Field> Record::given(const std::string& key) {
    if (!has(key)) return {};
    known_.insert(key);
    return field_.at(key);
}

std::optional<Field> Record::nullable(const std::string& key) {
    std::optional<Field> found = given(key);
    return found && found->is_null() ? std::nullopt : found;
}

int Record::count(const std::string& key, int otherwise) {
    const auto found = given(key);
    return found ? found->count() : otherwise;
}

int64_t Record::whole(const std::string& key, int64_t otherwise, int64_t least, int64_t most) {
    const auto found = given(key);
    return found ? found->whole(least, most) : otherwise;
}

double Record::number(const std::string& key, double otherwise) {
    const auto found = given(key);
    return found ? found->number() : otherwise;
}

bool Record::truth(const std::string& key, bool otherwise) {
    const auto found = given(key);
    return found ? found->truth() : otherwise;
}

size_t Record::one_of(const std::string& key, const std::vector<std::string>& choices, size_t otherwise) {
    const auto found = given(key);
    return found ? found->one_of(choices) : otherwise;
}

void Record::close() const {
    for (const auto& each : field_.json().items()) {
        if (known_.count(each.key()) == 0) throw FieldError{field_.below(each.key()), "Extra inputs are not permitted"};
    }
}

}  // namespace samclip
