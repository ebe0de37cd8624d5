package org.eellm.gguf;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.gguf.GgufValue.Flag;
import org.eellm.gguf.GgufValue.Real;
import org.eellm.gguf.GgufValue.Reals;
import org.eellm.gguf.GgufValue.Text;
import org.eellm.gguf.GgufValue.Texts;
import org.eellm.gguf.GgufValue.Whole;
import org.eellm.gguf.GgufValue.Wholes;

/** The named values of a GGUF file's header, typed; errors name key and value, not the file. */
public record GgufMetadata(Map<String, GgufValue> values) {
  public GgufMetadata {
    values = Collections.unmodifiableMap(values);
  }

  public boolean has(String key) {
    return values.containsKey(key);
  }

  public Optional<GgufValue> find(String key) {
    return Optional.ofNullable(values.get(key));
  }

  public String text(String key) {
    return optionalText(key).orElseThrow(() -> missing(key));
  }

  private <T> Optional<T> find(String key, Class<T> type, String problem) {
    return find(key)
        .map(value -> type.isInstance(value) ? type.cast(value) : this.<T>refuse(key, problem));
  }

  public Optional<String> optionalText(String key) {
    return find(key, Text.class, "is not a text").map(Text::value);
  }

  /** A whole number from 0. */
  public Optional<Integer> count(String key) {
    return find(key)
        .map(
            value ->
                value instanceof Whole(long whole) && whole >= 0 && whole <= Integer.MAX_VALUE
                    ? (int) whole
                    : refuse(key, "is not a whole number from 0 to " + Integer.MAX_VALUE));
  }

  public int positive(String key) {
    int value = count(key).orElseThrow(() -> missing(key));
    return value > 0 ? value : refuse(key, "is not positive");
  }

  public int positive(String key, int otherwise) {
    return has(key) ? positive(key) : otherwise;
  }

  public Optional<Double> real(String key) {
    return find(key)
        .map(
            value ->
                switch (value) {
                  case Real(double real) when Double.isFinite(real) -> shortest(real);
                  case Whole(long whole) -> (double) whole;
                  default -> refuse(key, "is not a finite number");
                });
  }

  /** Reals are mostly float32: 1e-5 is meant where the nearest float32 to it is written. */
  public static double shortest(double real) {
    return (float) real == real ? Double.parseDouble(Float.toString((float) real)) : real;
  }

  public Optional<Boolean> flag(String key) {
    return find(key, Flag.class, "is neither true nor false").map(Flag::value);
  }

  public Optional<List<String>> texts(String key) {
    return find(key, Texts.class, "is not an array of texts").map(Texts::values);
  }

  public Optional<List<Long>> wholes(String key) {
    return find(key, Wholes.class, "is not an array of whole numbers").map(Wholes::values);
  }

  public Optional<List<Double>> reals(String key) {
    return find(key, Reals.class, "is not an array of numbers").map(Reals::values);
  }

  private static GgufException missing(String key) {
    return new GgufException(key + " is missing; convert the model to GGUF anew");
  }

  /** Refuses the value that a key has. */
  public <T> T refuse(String key, String problem) {
    String shown = find(key).map(GgufValue::shown).orElse("absent");
    throw new GgufException("%s: %s %s".formatted(key, shown, problem));
  }
}
