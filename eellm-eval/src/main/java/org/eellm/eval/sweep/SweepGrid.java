package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.config.SettingException;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.exit.PolicyRule;
import org.eellm.decode.exit.ThresholdRule;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.model.Head;

/**
 * All settings that come of some values for each. Values that have no part in any setting are left
 * out of it.
 *
 * @param thresholds for the policies that have one
 * @param calibration file whose rule is tried with the thresholds, beside the policies
 * @param numbers for the policies that have one, such as patience
 * @param exits sets of exits to ask, each by its layers; an empty set is all exits
 * @param draftExits layers of exits that draft
 * @param draftLengths most tokens of a draft
 * @param draftMargins where drafts end
 */
public record SweepGrid(
    List<DecodingMode> modes,
    List<PolicyName> policies,
    List<Double> thresholds,
    Optional<String> calibration,
    Map<DecodingSetting<Integer>, List<Integer>> numbers,
    List<List<Integer>> exits,
    List<Integer> draftExits,
    List<Integer> draftLengths,
    List<Double> draftMargins) {
  /** Most tokens of a draft, by default. */
  public static final List<Integer> DRAFT_LENGTHS = List.of(2, 4, 8);

  /** Where drafts end, by default. */
  public static final List<Double> DRAFT_MARGINS = List.of(0.2, 0.5);

  /**
   * The settings.
   *
   * @param heads of the model
   * @throws ConfigException if one is not for the model, or there is none
   */
  public List<SweepSetting> settings(List<Head> heads) {
    List<Integer> available = heads.stream().filter(Head::isExit).map(Head::layer).toList();
    List<Integer> below = // what drafts at the last layer would draft as slowly as the full model
        available.stream().filter(layer -> layer < heads.getLast().layer()).toList();
    List<SweepSetting> settings = new ArrayList<>();
    for (DecodingMode mode : modes) {
      switch (mode) {
        case FULL ->
            throw new ConfigException(
                "--modes: full is what all others are measured beside; leave it out");
        case EARLY_EXIT, RECOMPUTE, PROPAGATE -> {
          policies.forEach(policy -> add(settings, mode, policy));
          calibration.ifPresent(
              file ->
                  thresholds.forEach(
                      value -> settings.add(SweepSetting.calibrated(mode, file, value))));
        }
        case SPECULATIVE -> drafts(settings, draftExits.isEmpty() ? below : draftExits);
      }
    }
    for (SweepSetting setting : settings) {
      require(setting, heads, available);
    }
    if (settings.isEmpty()) {
      throw new ConfigException(
          "--modes: no setting comes of %s with exits %s; give others".formatted(modes, available));
    }
    return List.copyOf(settings);
  }

  private static void require(SweepSetting setting, List<Head> heads, List<Integer> available) {
    try {
      setting.decoding().decoding(available, 1, SweepGrid::option).heads(heads);
    } catch (SettingException e) {
      throw e.named(SweepGrid::option);
    }
  }

  /** The option that lists the values of a setting. */
  private static String option(String setting) {
    return switch (setting) {
      case "policy" -> "--policies";
      case "exits", "calibration" -> "--" + setting;
      default ->
          DecodingSetting.policyNumbers().stream().anyMatch(each -> each.name().equals(setting))
              ? "--" + setting
              : "--" + setting + "s";
    };
  }

  private void add(List<SweepSetting> settings, DecodingMode mode, PolicyName policy) {
    for (List<Integer> asked : exits) {
      switch (policy.rule()) {
        case ThresholdRule _ ->
            thresholds.forEach(
                value -> settings.add(SweepSetting.atThreshold(mode, policy, value, asked)));
        case PolicyRule.Counted counted -> {
          DecodingSetting<Integer> number = DecodingSetting.of(counted);
          for (int value : numbers.getOrDefault(number, List.of())) {
            settings.add(SweepSetting.ofExits(mode, policy, asked).with(number, value));
          }
        }
        case PolicyRule.Other.ONE_EXIT -> {
          if (asked.size() != 1) {
            throw new ConfigException(
                "--policies: %s needs one exit in each set; give --exits 2 --exits 4"
                    .formatted(policy));
          }
          settings.add(SweepSetting.ofExits(mode, policy, asked));
        }
        case PolicyRule.Other.NO_EXIT ->
            throw new ConfigException(
                "--policies: %s is what all others are measured beside; leave it out"
                    .formatted(policy));
      }
    }
  }

  private void drafts(List<SweepSetting> settings, List<Integer> from) {
    if (!from.isEmpty()) {
      settings.add(SweepSetting.adaptiveDrafts());
    }
    for (int exit : from) {
      for (int length : draftLengths) {
        draftMargins.forEach(value -> settings.add(SweepSetting.speculative(exit, length, value)));
      }
    }
  }
}
