package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;
import java.util.function.ToIntFunction;
import java.util.stream.Collectors;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfigBuilder;

/** One thing that {@code config.json} says of a model, in one field or several, both ways. */
interface Field {
  /**
   * Takes it over.
   *
   * @throws CheckpointException if it is missing, malformed or nothing that is computed
   */
  void read(JsonFields from, ModelConfigBuilder into);

  /** Writes what a model has of it; what a family cannot say reads back as another model. */
  void write(ModelConfig from, ObjectNode into);

  /** A whole number from 1 that has to be there. */
  static Field size(
      String name, ToIntFunction<ModelConfig> get, BiConsumer<ModelConfigBuilder, Integer> set) {
    return of(
        (from, into) -> set.accept(into, from.positive(name)),
        (from, into) -> into.put(name, get.applyAsInt(from)));
  }

  /** A whole number from 1; 0, which follows from others, where it is absent. */
  static Field optionalSize(
      String name, ToIntFunction<ModelConfig> get, BiConsumer<ModelConfigBuilder, Integer> set) {
    return of(
        (from, into) -> {
          if (from.has(name)) {
            set.accept(into, from.positive(name));
          }
        },
        (from, into) -> {
          if (get.applyAsInt(from) > 0) {
            into.put(name, get.applyAsInt(from));
          }
        });
  }

  /** A number that has to be there. */
  static Field number(
      String name, ToDoubleFunction<ModelConfig> get, BiConsumer<ModelConfigBuilder, Double> set) {
    return of(
        (from, into) -> set.accept(into, from.number(name)),
        (from, into) -> into.put(name, get.applyAsDouble(from)));
  }

  /** A number, {@code otherwise} where it is absent. */
  static Field number(
      String name,
      double otherwise,
      ToDoubleFunction<ModelConfig> get,
      BiConsumer<ModelConfigBuilder, Double> set) {
    return of(
        (from, into) -> set.accept(into, from.number(name, otherwise)),
        (from, into) -> into.put(name, get.applyAsDouble(from)));
  }

  /** A number that 0 switches off, which files say as null. */
  static Field switched(
      String name, ToDoubleFunction<ModelConfig> get, BiConsumer<ModelConfigBuilder, Double> set) {
    return of(
        (from, into) -> set.accept(into, from.number(name, 0)),
        (from, into) -> {
          double value = get.applyAsDouble(from);
          into.set(
              name,
              value == 0
                  ? JsonNodeFactory.instance.nullNode()
                  : JsonNodeFactory.instance.numberNode(value));
        });
  }

  /** True or, also where it is absent, false. */
  static Field flag(
      String name, Predicate<ModelConfig> get, BiConsumer<ModelConfigBuilder, Boolean> set) {
    return of(
        (from, into) -> set.accept(into, from.optionalBool(name).orElse(false)),
        (from, into) -> into.put(name, get.test(from)));
  }

  /** A word in files and the value that it stands for. */
  record Word<T>(String text, T value) {}

  /** One of some words; of several for one value, the first is written. */
  static <T> Field choice(
      String name,
      List<Word<T>> words,
      Function<ModelConfig, T> get,
      BiConsumer<ModelConfigBuilder, T> set) {
    return of(
        (from, into) ->
            from.find(name).ifPresent(text -> set.accept(into, meaning(from, name, text, words))),
        (from, into) -> word(get.apply(from), words).ifPresent(word -> into.put(name, word)));
  }

  private static <T> T meaning(JsonFields from, String name, JsonNode text, List<Word<T>> words) {
    return words.stream()
        .filter(word -> word.text().equals(text.asText()))
        .findFirst()
        .orElseThrow(
            () ->
                from.wrong(
                    name,
                    text,
                    "is not supported; %s are"
                        .formatted(
                            words.stream().map(Word::text).collect(Collectors.joining(", ")))))
        .value();
  }

  private static <T> Optional<String> word(T value, List<Word<T>> words) {
    return words.stream().filter(word -> word.value().equals(value)).map(Word::text).findFirst();
  }

  /** The values of a list of words, which has to be there. */
  static <T> List<T> readAll(JsonFields from, String name, List<Word<T>> words) {
    List<T> values = new ArrayList<>();
    from.array(name).forEach(text -> values.add(meaning(from, name, text, words)));
    return values;
  }

  /** Writes the words of values; a value that has none is left out. */
  static <T> void writeAll(ObjectNode into, String name, List<T> values, List<Word<T>> words) {
    ArrayNode texts = into.putArray(name);
    values.forEach(value -> word(value, words).ifPresent(texts::add));
  }

  /** A field of which one value is computed with, also where it is absent. */
  static Field only(String name, JsonNode value) {
    return of(
        (from, into) ->
            from.find(name)
                .filter(other -> !other.equals(value))
                .ifPresent(
                    other -> {
                      throw from.wrong(
                          name,
                          other,
                          "is not supported with model_type %s; %s is"
                              .formatted(from.text("model_type"), value));
                    }),
        (from, into) -> into.set(name, value));
  }

  /** A trait of all models of the family, which no field says. */
  static Field always(BiConsumer<JsonFields, ModelConfigBuilder> trait) {
    return of(trait, (from, into) -> {});
  }

  /** A field for other tools, which says nothing that others do not. */
  static Field note(String name, ToIntFunction<ModelConfig> get) {
    return of(
        (from, into) -> {}, (from, into) -> into.set(name, IntNode.valueOf(get.applyAsInt(from))));
  }

  /** Both directions. */
  static Field of(
      BiConsumer<JsonFields, ModelConfigBuilder> read, BiConsumer<ModelConfig, ObjectNode> write) {
    return new Field() {
      @Override
      public void read(JsonFields from, ModelConfigBuilder into) {
        read.accept(from, into);
      }

      @Override
      public void write(ModelConfig from, ObjectNode into) {
        write.accept(from, into);
      }
    };
  }
}
