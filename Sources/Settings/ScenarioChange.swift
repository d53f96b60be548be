public import Simulation
import Yams

/// One `key=value` that takes the place of what a scenario file says, for example `failures.per_gpu_day=1e-3`,
/// `phases.0.days=100` or `gpu_models.H100.tdp_w=690`: entries of lists go by position, from 0, or by their `name` or `key`.
public struct ScenarioChange: Sendable, Hashable {
    public var path: [String]
    /// YAML: a number, a text, or `{…}` and `[…]`.
    public var value: String

    /// `nil` without a key or without `=`.
    public init?(_ text: String) {
        guard let equals = text.firstIndex(of: "=") else { return nil }
        path = text[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        value = String(text[text.index(after: equals)...])
        guard path.allSatisfy({ !$0.isEmpty }) else { return nil }
    }

    public var text: String { path.joined(separator: ".") + "=" + value }

    /// The tree with the change in it; `nil` where the path leads nowhere.
    func apply(to node: Node) -> Node? {
        guard let new = (try? Yams.compose(yaml: value)) ?? nil else { return nil }
        return Self.set(path[...], to: new, in: node)
    }

    private static func set(_ path: ArraySlice<String>, to new: Node, in node: Node) -> Node? {
        guard let key = path.first else { return new }
        switch node {
        case .mapping(var mapping):
            let old = mapping[Node(key)]
            // A key that the file leaves out may be set all the same; the decoder says whether there is such a key.
            guard let child = set(path.dropFirst(), to: new, in: old ?? Node([(Node, Node)]())) else {
                return nil
            }
            mapping[Node(key)] = child
            return .mapping(mapping)
        case .sequence(var sequence):
            guard let place = position(key, sequence),
                let child = set(path.dropFirst(), to: new, in: sequence[place])
            else { return nil }
            sequence[place] = child
            return .sequence(sequence)
        case .scalar, .alias: return nil
        }
    }

    private static func position(_ key: String, _ sequence: Node.Sequence) -> Int? {
        if let place = Int(key) { return sequence.indices.contains(place) ? place : nil }
        return sequence.firstIndex { entry in
            entry.mapping?["name"]?.string == key || entry.mapping?["key"]?.string == key
        }
    }
}

/// Reads a scenario file and changes some of its values, as strictly as if they stood in the file.
///
/// - Throws: what is wrong with the file; and then what is wrong with a change, as `--set KEY=VALUE: …`.
public func loadScenario(path: String, seed: UInt64? = nil, changes: [ScenarioChange]) throws(SettingsFailure)
    -> Scenario
{
    var scenario = try loadScenario(path: path, seed: seed)
    guard !changes.isEmpty else { return scenario }
    var done: [ScenarioChange] = []
    for change in changes {
        done.append(change)
        let applied = done
        do throws(SettingsFailure) {
            scenario = try StrictYAML.decode(file: path) { root in
                var node = root.node
                for change in applied {
                    guard let changed = change.apply(to: node) else {
                        root.fail("there is no `\(change.path.joined(separator: "."))`")
                        return nil
                    }
                    node = changed
                }
                return ScenarioFile.decode(YAMLValue(node: node, report: root.report))
            }
        } catch {
            // The file alone is fine, so it is the last change.
            throw SettingsFailure(
                error.errors.map { error in
                    SettingsError(
                        file: "--set \(change.text)", line: 0, column: 0, problem: error.problem,
                        expected: error.expected)
                })
        }
    }
    if let seed { scenario.seed = seed }
    return scenario
}
