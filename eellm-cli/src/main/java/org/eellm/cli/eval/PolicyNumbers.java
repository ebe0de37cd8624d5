package org.eellm.cli.eval;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eellm.cli.option.GivenValues;
import org.eellm.config.ConfigException;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingSetting;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** Numbers of policies to try, such as of patience, as a mixin. */
@Command
final class PolicyNumbers {
  private final GivenValues<DecodingSetting<Integer>> given = new GivenValues<>();

  @Spec(Spec.Target.MIXEE)
  void addTo(CommandSpec command) {
    for (DecodingSetting<Integer> setting : DecodingSetting.policyNumbers()) {
      command.addOption(
          given
              .option(setting, "--" + setting)
              .paramLabel(setting.label())
              .description("To try, as in 1,2. " + setting.description())
              .type(List.class)
              .auxiliaryTypes(Integer.class)
              .splitRegex(",")
              .build());
    }
  }

  @SuppressWarnings("unchecked") // by the option's type
  private List<Integer> of(DecodingSetting<Integer> setting) {
    return (List<Integer>) given.get(setting).orElse(List.of());
  }

  /** Those to try; where none is given, the one that there is by default. */
  Map<DecodingSetting<Integer>, List<Integer>> values() {
    Map<DecodingSetting<Integer>, List<Integer>> values = new LinkedHashMap<>();
    for (DecodingSetting<Integer> setting : DecodingSetting.policyNumbers()) {
      List<Integer> own = of(setting);
      values.put(setting, own.isEmpty() ? List.of(setting.usual().orElseThrow()) : own);
    }
    return values;
  }

  /** Refuses numbers that none of the policies has. */
  void require(List<PolicyName> policies) {
    for (DecodingSetting<Integer> setting : DecodingSetting.policyNumbers()) {
      if (!of(setting).isEmpty() && policies.stream().noneMatch(policy -> has(policy, setting))) {
        List<PolicyName> with =
            Arrays.stream(PolicyName.values()).filter(policy -> has(policy, setting)).toList();
        throw new ConfigException(
            "--%s has no effect without --policies %s; leave it out"
                .formatted(setting, PolicyName.listed(with, "or")));
      }
    }
  }

  private static boolean has(PolicyName policy, DecodingSetting<?> setting) {
    return policy.rule().settings().contains(setting.name());
  }
}
