package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireAtLeast;

import com.fasterxml.jackson.annotation.JsonCreator;
import java.util.List;
import java.util.Optional;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;
import org.eellm.config.setting.RecordCopy;

/**
 * The training data.
 *
 * @param sources indexed datasets to blend; each is divided by {@code split} unless validation
 *     sources are given
 * @param validation indexed datasets to evaluate on, in place of the second share of the split
 * @param tokenizer folder of {@code tokenizer.json} or of {@code vocab.json} and {@code
 *     merges.txt}; copied into checkpoints
 * @param split relative shares of training, validation and test in each source; nothing reads the
 *     test part
 * @param sequenceLength target tokens of one sample
 * @param attendAcrossDocuments whether a token sees earlier documents of its sample; if not, each
 *     begins at position 0
 */
public record DataConfig(
    List<Source> sources,
    List<Source> validation,
    Optional<String> tokenizer,
    @NoEffectWith(Choice.VALIDATION_DATA) List<Double> split,
    int sequenceLength,
    boolean attendAcrossDocuments) {

  private static final double MAX_SHARE = 1e9;

  /**
   * One indexed dataset. A path alone has the weight 1.
   *
   * @param path prefix of the {@code .bin} and {@code .idx} files
   * @param weight relative share of samples
   */
  public record Source(String path, double weight) {
    public Source {
      require(
          !path.isBlank(), "data.sources", "a path is empty; give the prefix of a .bin/.idx pair");
      require(
          weight > 0 && weight <= MAX_SHARE,
          "data.sources",
          "weight %s of %s is not a number above 0, at most %.0e",
          weight,
          path,
          MAX_SHARE);
    }

    /** A dataset alone, or one of several that weigh the same: in YAML just its path. */
    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    public static Source of(String path) {
      return new Source(path, 1);
    }
  }

  public DataConfig {
    sources = List.copyOf(sources);
    validation = List.copyOf(validation);
    split = List.copyOf(split);
    require(
        split.size() == 3,
        "data.split",
        split + " is not three shares; use [train, validation, test]");
    for (double share : split) {
      require(
          share >= 0 && share <= MAX_SHARE,
          "data.split",
          "%s has a share outside 0..%.0e; shares are relative",
          split,
          MAX_SHARE);
    }
    require(
        split.get(0) > 0,
        "data.split",
        split + " leaves nothing to train on; make the first share positive");
    requireAtLeast(1, sequenceLength, "data.sequence_length");
    require(
        attendAcrossDocuments || tokenizer.isPresent(),
        "data.attend_across_documents",
        "false needs data.tokenizer, whose end token divides documents; set it");
  }

  /** This data in sequences of another length. */
  public DataConfig withSequenceLength(int length) {
    return RecordCopy.with(this, "sequenceLength", length);
  }
}
