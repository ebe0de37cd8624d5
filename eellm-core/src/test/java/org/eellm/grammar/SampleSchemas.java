package org.eellm.grammar;

import java.util.stream.Stream;

/** Schemas as programs send them. */
public final class SampleSchemas {
  private SampleSchemas() {}

  public static Stream<String> all() {
    return Stream.of(
        "{\"type\":\"boolean\"}",
        "{\"type\":\"null\"}",
        "{\"type\":\"integer\"}",
        "{\"type\":\"integer\",\"minimum\":1,\"maximum\":31}",
        "{\"type\":\"integer\",\"exclusiveMinimum\":-3,\"exclusiveMaximum\":4}",
        "{\"type\":\"integer\",\"minimum\":18}",
        "{\"type\":\"integer\",\"maximum\":-18}",
        "{\"type\":\"number\"}",
        "{\"type\":\"number\",\"minimum\":0,\"maximum\":100}",
        "{\"type\":\"number\",\"minimum\":-2}",
        "{\"type\":\"string\"}",
        "{\"type\":\"string\",\"minLength\":2,\"maxLength\":5}",
        "{\"type\":\"string\",\"pattern\":\"^[A-Z]{3}-\\\\d{4}$\"}",
        "{\"type\":\"string\",\"format\":\"date\"}",
        "{\"type\":\"string\",\"format\":\"date-time\"}",
        "{\"type\":\"string\",\"format\":\"time\"}",
        "{\"type\":\"string\",\"format\":\"uuid\"}",
        "{\"type\":\"string\",\"format\":\"ipv4\"}",
        "{\"type\":\"string\",\"format\":\"email\"}",
        "{\"type\":[\"string\",\"null\"],\"maxLength\":8}",
        "{\"enum\":[\"red\",\"green\",\"blue\"]}",
        "{\"enum\":[1,\"1\",null,true,[1,2],{\"a\":1.5}]}",
        "{\"const\":\"caf\\u00e9 \\\"now\\\"\"}",
        "{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
        "{\"type\":\"array\",\"items\":{\"enum\":[0,1]},\"minItems\":2,\"maxItems\":4}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":0}",
        "{\"type\":\"array\",\"minItems\":1}",
        "{\"type\":\"object\"}",
        "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
        "{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]}",
        "{\"properties\":{\"a\":true,\"b\":{\"type\":\"null\"}},\"additionalProperties\":false}",
        "{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{\"const\":3}},\"required\":[\"b\"]}",
        "{\"properties\":{\"x\":{\"const\":1}},\"required\":[\"x\",\"y\"]}",
        "{\"type\":\"object\",\"required\":[\"k\"]}",
        "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"array\",\"items\":{\"type\":\"null\"}}]}",
        "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":3}]}",
        "{\"oneOf\":[{\"properties\":{\"kind\":{\"const\":\"cat\"},\"lives\":{\"type\":\"integer\"}},\"required\":[\"kind\",\"lives\"]},"
            + "{\"properties\":{\"kind\":{\"const\":\"dog\"},\"barks\":{\"type\":\"boolean\"}},\"required\":[\"kind\"]}]}",
        "{\"allOf\":[{\"type\":\"boolean\"}]}",
        "{\"$ref\":\"#/$defs/point\",\"$defs\":{\"point\":{\"properties\":{\"x\":{\"type\":\"integer\"},\"y\":{\"type\":\"integer\"}},"
            + "\"required\":[\"x\",\"y\"],\"additionalProperties\":false}}}",
        "{\"$ref\":\"#/$defs/tree\",\"$defs\":{\"tree\":{\"properties\":{\"value\":{\"type\":\"integer\"},\"children\":{\"type\":\"array\","
            + "\"items\":{\"$ref\":\"#/$defs/tree\"}}},\"required\":[\"value\",\"children\"]}}}",
        "{\"properties\":{\"next\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},\"required\":[\"next\"]}",
        "{\"title\":\"Person\",\"description\":\"somebody\",\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},"
            + "\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150},\"email\":{\"type\":[\"string\",\"null\"],\"default\":null}},"
            + "\"required\":[\"name\",\"age\",\"email\"],\"additionalProperties\":false}",
        "{\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"properties\":{\"sku\":{\"pattern\":\"^[A-Z]{2}\\\\d+$\",\"type\":\"string\"},"
            + "\"count\":{\"type\":\"integer\",\"minimum\":1}},\"required\":[\"sku\",\"count\"]},\"minItems\":1},\"paid\":{\"type\":\"boolean\"}},"
            + "\"required\":[\"items\",\"paid\"]}",
        "{\"properties\":{\"steps\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":3},\"answer\":{\"type\":\"number\"}},"
            + "\"required\":[\"steps\",\"answer\"],\"additionalProperties\":false}",
        "{\"properties\":{\"\\u00fcber"
            + " \\\"x\\\"\":{\"type\":\"boolean\"}},\"required\":[\"\\u00fcber \\\"x\\\"\"]}",
        "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":9},\"minItems\":3,\"maxItems\":3},"
            + "\"minItems\":2,\"maxItems\":2}",
        "{\"properties\":{\"sentiment\":{\"enum\":[\"good\",\"bad\",\"mixed\"]},\"score\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1}},"
            + "\"required\":[\"sentiment\",\"score\"]}",
        "{\"properties\":{\"city\":{\"type\":\"string\"},\"unit\":{\"enum\":[\"c\",\"f\"]}},\"required\":[\"city\"]}",
        "true");
  }
}
